"""The EMDB header (XML of schema 3 or 1.9, or the JSON of the EMDB's API), read as data of unknown origin.

No document type, no entities, nothing external is accepted, and size and depth are limited; a value that makes no sense
is left aside with a remark instead of spoiling the others.
"""

from __future__ import annotations

import math
import re
import unicodedata
from typing import TYPE_CHECKING
from xml.etree.ElementTree import ParseError, TreeBuilder

import defusedxml.ElementTree as SafeElementTree
from defusedxml import DefusedXmlException

from curation.emdb_forms import MAX_DEPTH, from_json, from_version_1
from curation.facts import Contour, HeaderFacts, HeaderGrid, Sourced
from curation.identifiers import normalise_emdb_id, normalise_pdb_id
from refinement.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path
    from xml.etree.ElementTree import Element

MAX_HEADER_BYTES = 32 << 20
"""Largest header that is read; headers with long sequences and FSC curves stay below some megabytes."""
MAX_TEXT = 2000
"""Longest text that is kept of one element."""
MAX_NUMBER = 64
"""Longest text that is read as a number."""
PROCESSING = (
    "singleparticle_processing",
    "helical_processing",
    "subtomogram_averaging_processing",
    "tomography_processing",
    "crystallography_processing",
)
FILE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,199}")
DETERMINATION = "structure_determination_list/structure_determination"


class HeaderError(InputError):
    """The EMDB header can't be used."""


def read_header(path: Path) -> HeaderFacts:
    """Read an EMDB header.

    Raises
    ------
    HeaderError
        ``header_missing``, ``header_too_large``, ``header_forbidden`` (a document type or entities) or
        ``header_unreadable``.
    """
    if not path.is_file():
        message = f"The header {path.name} does not exist."
        raise HeaderError("header_missing", message, "Fetch the file again.")
    with path.open("rb") as handle:
        data = handle.read(MAX_HEADER_BYTES + 1)
    return parse_header(data, path.name)


def parse_header(data: bytes, name: str) -> HeaderFacts:
    """Read an EMDB header from its bytes; see `read_header`."""
    if len(data) > MAX_HEADER_BYTES:
        message = f"The header {name} has more than {MAX_HEADER_BYTES >> 20} MiB."
        raise HeaderError("header_too_large", message, "This isn't an EMDB header.")
    return _Reader(_json_tree(data, name) if data.lstrip()[:1] == b"{" else _tree(data, name), name).facts()


def _json_tree(data: bytes, name: str) -> Element:
    try:
        return from_json(data)
    except (ValueError, RecursionError) as fault:
        message = f"The header {name} isn't an EMDB entry in JSON: {fault or type(fault).__name__}."
        raise HeaderError("header_unreadable", message, "The file is damaged; fetch it again.") from fault


def _tree(data: bytes, name: str) -> Element:
    """Parse XML and return it in the form of schema 3."""
    try:
        parser = SafeElementTree.DefusedXMLParser(target=_ShallowTree(), forbid_dtd=True)
        parser.feed(data)
        root = parser.close()
    except DefusedXmlException as fault:
        message = f"The header {name} carries a document type or entity definitions, which no EMDB header needs."
        raise HeaderError("header_forbidden", message, "The file may be an attack; fetch it again from the archive.") from fault
    except (ParseError, ValueError, LookupError, RecursionError) as fault:
        message = f"The header {name} isn't well-formed XML: {fault}."
        raise HeaderError("header_unreadable", message, "The file is damaged; fetch it again.") from fault
    if root.tag == "emdEntry":
        return from_version_1(root)
    if root.tag != "emd":
        message = f"The header {name} has the root element {str(root.tag)[:40]!r}; EMDB headers begin with 'emd' or 'emdEntry'."
        raise HeaderError("header_unreadable", message, "Fetch the version 3 header.")
    return root


class _ShallowTree:
    """Builds the tree of a document without the elements that are nested beyond reason."""

    def __init__(self) -> None:
        self.builder = TreeBuilder()
        self.depth = 0

    def start(self, tag: str, attributes: dict[str, str]) -> None:
        """Open an element."""
        self.depth += 1
        if self.depth <= MAX_DEPTH:
            self.builder.start(tag, attributes)

    def data(self, text: str) -> None:
        """Add text."""
        if self.depth <= MAX_DEPTH:
            self.builder.data(text)

    def end(self, tag: str) -> None:
        """Close an element."""
        if self.depth <= MAX_DEPTH:
            self.builder.end(tag)
        self.depth -= 1

    def close(self) -> Element:
        """Return the root."""
        return self.builder.close()


class _Reader:
    """Takes the elements that are used out of the tree and keeps a list of what made no sense."""

    def __init__(self, root: Element, name: str) -> None:
        self.root = root
        self.name = name
        self.skipped: list[str] = []

    def facts(self) -> HeaderFacts:
        texts = self.texts
        contours = tuple(self.contours())
        primary = [contour for contour in contours if contour.primary] or contours
        return HeaderFacts(
            source=self.name,
            emdb_id=self.root.get("emdb_id", ""),
            title=self.text("admin/title"),
            status=self.text("admin/current_status/code"),
            dates=self.dates(),
            methods=texts(f"{DETERMINATION}/method"),
            resolutions=tuple(self.resolutions()),
            resolution_methods=tuple(t for p in PROCESSING for t in texts(f"{DETERMINATION}/{p}//resolution_method")),
            pdb_ids=self.pdb_ids(),
            related_maps=self.related_maps(),
            symmetry=self.symmetry(),
            map_file=next(iter(self.files("map/file")), None),
            grid=self.grid(),
            statistics=self.statistics(),
            contour=primary[0].level if primary else None,
            half_map_files=self.files("interpretation/half_map_list/half_map/file"),
            additional_map_files=self.files("interpretation/additional_map_list/additional_map/file"),
            mask_files=self.files("interpretation/segmentation_list/segmentation/file"),
            skipped=tuple(self.skipped),
            contours=contours,
            software=self.software(),
            replaced_by=texts("admin/superseded_by_list/entry/id"),
            remarks=self.remarks(),
        )

    def text(self, path: str) -> str:
        return next(iter(self.texts(path)), "")

    def texts(self, path: str) -> tuple[str, ...]:
        found = (" ".join((element.text or "")[:MAX_TEXT].split()) for element in self.root.iterfind(path))
        return tuple(text for text in found if text)

    def dates(self) -> dict[str, str]:
        kinds = ("deposition", "header_release", "map_release", "update")
        return {kind: date for kind in kinds if (date := self.text(f"admin/key_dates/{kind}"))}

    def resolutions(self) -> Iterator[Sourced]:
        for processing in PROCESSING:
            elements = self.root.iterfind(f"{DETERMINATION}/{processing}/final_reconstruction/resolution")
            for number, element in enumerate(elements, start=1):
                source = f"{self.name}: {processing}" + (f" ({number})" if number > 1 else "")
                value = self.number(element.text, source)
                unit = unicodedata.normalize("NFKC", element.get("units", "Å")).strip()
                if value is None:
                    continue
                if value <= 0 or unit != unicodedata.normalize("NFKC", "Å"):
                    self.skipped.append(f"{source}: resolution {value:g} {unit}")
                    continue
                yield Sourced(value, source)

    def pdb_ids(self) -> tuple[str, ...]:
        found: dict[str, None] = {}
        for text in self.texts("crossreferences/pdb_list/pdb_reference/pdb_id"):
            try:
                found[normalise_pdb_id(text)] = None
            except InputError:
                self.skipped.append(f"{self.name}: pdb_id {text[:40]!r}")
        return tuple(found)

    def related_maps(self) -> tuple[str, ...]:
        found: dict[str, None] = {}
        for text in self.texts("crossreferences/emdb_list/emdb_reference/emdb_id"):
            try:
                found[normalise_emdb_id(text)] = None
            except InputError:
                self.skipped.append(f"{self.name}: emdb_id {text[:40]!r}")
        return tuple(found)

    def symmetry(self) -> tuple[str, ...]:
        found: dict[str, None] = {}
        for processing in PROCESSING:
            base = f"{DETERMINATION}/{processing}/final_reconstruction/applied_symmetry"
            found |= dict.fromkeys(self.texts(f"{base}/point_group"))
            for helix in self.root.iterfind(f"{base}/helical_parameters"):
                values = (" ".join((child.text or "")[:40].split()) for child in helix)
                names = (str(child.tag) for child in helix)
                found["helix " + ", ".join(f"{n} {v}" for n, v in zip(names, values, strict=True))] = None
        return tuple(found)

    def grid(self) -> HeaderGrid:
        stored = self.counts("map/dimensions", "col", "row", "sec")
        axes = tuple(self.text(f"map/axis_order/{speed}").upper() for speed in ("fast", "medium", "slow"))
        dims = None
        if stored is not None and sorted(axes) == ["X", "Y", "Z"]:
            dims = (stored[axes.index("X")], stored[axes.index("Y")], stored[axes.index("Z")])
        cell = self.numbers("map/cell", "a", "b", "c", "alpha", "beta", "gamma")
        voxel = self.numbers("map/pixel_spacing", "x", "y", "z")
        group = self.number(self.text("map/symmetry/space_group") or None, f"{self.name}: space_group")
        return HeaderGrid(
            stored=stored,
            dims=dims,
            sampling=self.counts("map/spacing", "x", "y", "z"),
            cell=(cell[0], cell[1], cell[2], cell[3], cell[4], cell[5]) if cell else None,
            voxel=(voxel[0], voxel[1], voxel[2]) if voxel else None,
            space_group=int(group) if group is not None else None,
        )

    def statistics(self) -> dict[str, float]:
        kinds = ("minimum", "maximum", "average", "std")
        found = {kind: self.number(self.text(f"map/statistics/{kind}") or None, f"{self.name}: {kind}") for kind in kinds}
        return {kind: value for kind, value in found.items() if value is not None}

    def contours(self) -> Iterator[Contour]:
        for element in self.root.iterfind("map/contour_list/contour"):
            level = self.number(element.findtext("level"), f"{self.name}: contour")
            if level is None:
                continue
            said_by = " ".join((element.findtext("source") or "")[:40].split())
            primary = element.get("primary", "").strip().lower() in {"true", "1"}
            yield Contour(level, primary, f"{self.name}: {said_by}" if said_by else self.name)

    def software(self) -> tuple[str, ...]:
        paths = (f"{DETERMINATION}/{processing}//software/name" for processing in PROCESSING)
        return tuple(dict.fromkeys(name for path in paths for name in self.texts(path)))

    def remarks(self) -> tuple[str, ...]:
        paths = ["admin/title", "admin/details", "map/details", "map/annotation_details"]
        paths += [f"{DETERMINATION}/{processing}//details" for processing in PROCESSING]
        return tuple(dict.fromkeys(text for path in paths for text in self.texts(path)))

    def files(self, path: str) -> tuple[str, ...]:
        found = self.texts(path)
        good = tuple(name for name in found if FILE_NAME.fullmatch(name))
        self.skipped += [f"{self.name}: file name {name[:60]!r}" for name in found if not FILE_NAME.fullmatch(name)]
        return good

    def counts(self, path: str, *kinds: str) -> tuple[int, int, int] | None:
        found = self.numbers(path, *kinds)
        if found is None or any(value != int(value) for value in found):
            return None
        return int(found[0]), int(found[1]), int(found[2])

    def numbers(self, path: str, *kinds: str) -> list[float] | None:
        values = [self.number(self.text(f"{path}/{kind}") or None, f"{self.name}: {path}/{kind}") for kind in kinds]
        return [v for v in values if v is not None] if all(v is not None for v in values) else None

    def number(self, text: str | None, source: str) -> float | None:
        if text is None or not text.strip():
            return None
        try:
            value = float(text) if len(text) <= MAX_NUMBER else math.nan
        except ValueError:
            value = math.nan
        if not math.isfinite(value):
            self.skipped.append(f"{source}: {text.strip()[:40]!r} is not a number")
            return None
        return value
