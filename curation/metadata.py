"""What the mmCIF file of a model says about the experiment, and what the header of a map file says about its grid."""

from __future__ import annotations

import gzip
import math
import zlib
from typing import TYPE_CHECKING

import gemmi

from curation.facts import Grid, ModelFacts, Sourced
from curation.identifiers import normalise_emdb_id
from refinement.errors import InputError, MapError, ModelError
from refinement.maps.density import read_map_header

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from curation.facts import Cell

MAX_MODEL_BYTES = 1 << 30
"""Largest unpacked mmCIF file that is read; a model of five million atoms has half of it."""
MAX_RATIO = 100
"""mmCIF and JSON unpack to some ten times their packed size; more than this is an attack or damage."""
SMALL_BYTES = 16 << 20
"""Content that is read whatever its ratio."""
MAX_MAP_RATIO = 300
"""The same for maps, which unpack to a hundred times their packed size if nearly all of the box is masked."""
SMALL_MAP_BYTES = 256 << 20
"""Voxels that are read whatever their ratio."""
ASSOCIATED = "associated em volume"
RESOLUTION_TAGS = ("_em_3d_reconstruction.resolution", "_refine.ls_d_res_high", "_reflns.d_resolution_high")


def read_block(path: Path) -> gemmi.cif.Block:
    """Read the first data block with atoms of a (gzipped) mmCIF file.

    Raises
    ------
    ModelError
        ``model_missing``, ``model_truncated``, ``model_too_large``, ``model_unreadable`` or ``model_empty``.
    """
    data = read_packed(path)
    try:
        document = parse_document(data)
    except (ValueError, RuntimeError, IndexError) as fault:
        message = f"{path.name} can't be read as mmCIF: {_first_line(fault)}."
        raise ModelError("model_unreadable", message, "The file is damaged; fetch it again.") from fault
    for block in document:
        if block.find_values("_atom_site.Cartn_x"):
            return block
    message = f"{path.name} has no atoms."
    raise ModelError("model_empty", message, "The file is damaged; fetch it again.")


def parse_document(data: bytes) -> gemmi.cif.Document:
    """Parse mmCIF; bytes that aren't UTF-8 become replacement characters, so that every value is a string."""
    # Large files are ASCII as a rule, and then need not be in memory a second time.
    return gemmi.cif.read_string(data if data.isascii() else data.decode("utf-8", errors="replace"))


def read_packed(path: Path, limit: int = MAX_MODEL_BYTES) -> bytes:
    """Return the content of a file, unpacked if it is gzipped, never more than `limit` bytes.

    Raises
    ------
    ModelError
        ``model_missing``, ``model_truncated`` or ``model_too_large``.
    """
    if not path.is_file():
        message = f"The model file {path.name} does not exist."
        raise ModelError("model_missing", message, "Fetch the file again.")
    try:
        with path.open("rb") as raw:
            packed = raw.read(2) == b"\x1f\x8b"
            raw.seek(0)
            if packed:
                limit = min(limit, max(SMALL_BYTES, MAX_RATIO * path.stat().st_size))
            data = gzip.GzipFile(fileobj=raw).read(limit + 1) if packed else raw.read(limit + 1)
    except (EOFError, gzip.BadGzipFile, zlib.error) as fault:
        message = f"{path.name} is damaged: {_first_line(fault)}."
        raise ModelError("model_truncated", message, "Fetch the file again.") from fault
    if len(data) > limit:
        message = f"{path.name} unpacks to more than {limit >> 20} MiB."
        raise ModelError("model_too_large", message, "This isn't a model file.")
    return data


def model_facts(block: gemmi.cif.Block, source: str) -> ModelFacts:
    """Collect the metadata of a model from its mmCIF block."""
    skipped: list[str] = []
    associated, related = _maps(block, source, skipped)
    return ModelFacts(
        source=source,
        entry_id=_first(block, "_entry.id") or block.name,
        title=_first(block, "_struct.title"),
        methods=tuple(dict.fromkeys(" ".join(m.upper().split()) for m in _all(block, "_exptl.method"))),
        dates=_dates(block),
        resolutions=tuple(_resolutions(block, source, skipped)),
        associated_maps=associated,
        related_maps=related,
        cell=_cell(block, source, skipped),
        space_group=_first(block, "_symmetry.space_group_name_H-M") or _first(block, "_space_group.name_H-M_alt"),
        models=len(set(_all(block, "_atom_site.pdbx_PDB_model_num"))) or 1,
        skipped=tuple(skipped),
        related_kinds=_related_kinds(block),
        software=tuple(dict.fromkeys(_all(block, "_em_software.name"))),
        status=_first(block, "_pdbx_database_status.status_code").upper(),
        replaced_by=_replaced_by(block, _first(block, "_entry.id") or block.name),
    )


def associated_maps(block: gemmi.cif.Block) -> tuple[str, ...]:
    """Return the EMDB ids of the maps that the model was built into, as its mmCIF file states them."""
    return _maps(block, "", [])[0]


def map_grid(path: Path) -> Grid:
    """Read the grid from the header of a map file; no voxel is read.

    Raises
    ------
    MapError
        If the file isn't a map, its header makes no sense (codes of `refinement.maps.header.parse_header`), or it promises
        far more voxels than a packed file of its size holds (``map_ratio``).
    """
    header = read_map_header(path)
    promised = header.voxels * header.dtype.itemsize
    if promised > max(SMALL_MAP_BYTES, MAX_MAP_RATIO * path.stat().st_size):
        size = " × ".join(map(str, header.dims))
        message = f"{path.name} claims {size} voxels, more than {MAX_MAP_RATIO} times what it takes on disk."
        raise MapError("map_ratio", message, "The file is damaged or an attack; fetch it again.")
    voxel, corner, cell = header.voxel.tolist(), header.corner.tolist(), header.cell.parameters
    return Grid(
        file=path.name,
        dims=header.dims,
        start=header.start,
        origin=header.origin,
        voxel=(voxel[0], voxel[1], voxel[2]),
        cell=(cell[0], cell[1], cell[2], cell[3], cell[4], cell[5]),
        corner=(corner[0], corner[1], corner[2]),
        axes=header.axes,
        space_group=header.ispg,
        mode=header.mode,
    )


def _maps(block: gemmi.cif.Block, source: str, skipped: list[str]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    associated: dict[str, None] = {}
    related: dict[str, None] = {}
    tags = ["db_name", "db_id", "?content_type"]
    for row in block.find("_pdbx_database_related.", tags):
        if not _is_emdb(row[0]):
            continue
        content = gemmi.cif.as_string(row[2]) if row.has(2) else ""
        try:
            emdb_id = normalise_emdb_id(gemmi.cif.as_string(row[1]))
        except InputError:
            skipped.append(f"{source}: _pdbx_database_related.db_id {row[1][:40]!r}")
            continue
        group = associated if " ".join(content.lower().split()) == ASSOCIATED else related
        group[emdb_id] = None
    return tuple(associated), tuple(key for key in related if key not in associated)


def _related_kinds(block: gemmi.cif.Block) -> tuple[str, ...]:
    """Return the content types of all EMDB entries but the associated map, in lower case."""
    rows = block.find("_pdbx_database_related.", ["db_name", "content_type"])
    kinds = (" ".join(gemmi.cif.as_string(row[1]).lower().split()) for row in rows if _is_emdb(row[0]))
    return tuple(dict.fromkeys(kind for kind in kinds if kind and kind != ASSOCIATED))


def _replaced_by(block: gemmi.cif.Block, entry_id: str) -> tuple[str, ...]:
    """Return the entries that took the place of this one, as obsolete files name them; "" for one without a successor."""
    rows = block.find("_pdbx_database_PDB_obs_spr.", ["id", "pdb_id", "replace_pdb_id"])
    texts = [[gemmi.cif.as_string(value).strip() for value in row] for row in rows]
    gone = [new for kind, new, old in texts if kind.upper() == "OBSLTE" and old.lower() in {"", entry_id.lower()}]
    return tuple(dict.fromkeys(name for names in gone for name in (names.lower().split() or [""])))


def _is_emdb(text: str) -> bool:
    return gemmi.cif.as_string(text).strip().upper() == "EMDB"


def _resolutions(block: gemmi.cif.Block, source: str, skipped: list[str]) -> Iterator[Sourced]:
    for tag in RESOLUTION_TAGS:
        for text in _all(block, tag):
            value = gemmi.cif.as_number(text)
            if math.isfinite(value) and value > 0:
                yield Sourced(value, f"{source}: {tag}")
            else:
                skipped.append(f"{source}: {tag} {text[:40]!r}")


def _cell(block: gemmi.cif.Block, source: str, skipped: list[str]) -> Cell | None:
    tags = ("length_a", "length_b", "length_c", "angle_alpha", "angle_beta", "angle_gamma")
    texts = [_first(block, f"_cell.{tag}") for tag in tags]
    if not any(texts):
        return None
    values = [gemmi.cif.as_number(text) if text else math.nan for text in texts]
    if not all(math.isfinite(value) for value in values):
        skipped.append(f"{source}: _cell {' '.join(texts)[:60]!r}")
        return None
    return values[0], values[1], values[2], values[3], values[4], values[5]


def _dates(block: gemmi.cif.Block) -> dict[str, str]:
    dates: dict[str, str] = {}
    deposited = _first(block, "_pdbx_database_status.recvd_initial_deposition_date")
    if deposited:
        dates["deposition"] = deposited
    rows = block.find("_pdbx_audit_revision_history.", ["ordinal", "revision_date"])
    revisions = {int(row[0]): gemmi.cif.as_string(row[1]) for row in rows if row[0].isdigit() and len(row[0]) < 9}
    if revisions:
        dates["release"] = revisions[min(revisions)]
        dates["revision"] = revisions[max(revisions)]
    return dates


def _first(block: gemmi.cif.Block, tag: str) -> str:
    return next(iter(_all(block, tag)), "")


def _all(block: gemmi.cif.Block, tag: str) -> list[str]:
    """Return the values of a tag, those that are unknown ("?") or inapplicable (".") left out."""
    return [" ".join(gemmi.cif.as_string(value).split()) for value in block.find_values(tag) if not gemmi.cif.is_null(value)]


def _first_line(fault: BaseException) -> str:
    return (str(fault).strip().splitlines() or [type(fault).__name__])[0].rstrip(".")
