"""May this pair be re-refined? Its files are fetched, read and judged; the answer is a curated model or a reason.

Bad data never raise: they become findings. What raises is the archive out of reach, a full disk, or a fault of ours.
"""

from __future__ import annotations

import gzip
import os
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import gemmi

from curation.archive import MAX_FILE_BYTES, half_map_path, header_path, map_path, model_path
from curation.assembly import Assembled, assemble, assembled_block
from curation.checks import consensus_resolution, first_refusal, run_checks
from curation.composition import compose
from curation.download import FileDamagedError, FileMissingError
from curation.emdb_header import MAX_HEADER_BYTES, read_header
from curation.facts import PairFacts, Problem
from curation.identifiers import normalise_emdb_id, normalise_pdb_id
from curation.ligands import unknown_compounds
from curation.metadata import MAX_MODEL_BYTES, map_grid, model_facts, read_block
from curation.operators import AssemblyError
from curation.summary import summarise
from curation.voxels import compare_half_maps, primary_facts, sample_voxels
from refinement.errors import InputError, MapError, ModelError
from refinement.maps.density import read_map
from refinement.structure import from_gemmi

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray

    from curation.archive import Archive
    from curation.findings import Finding
    from curation.identifiers import Pair
    from refinement.operators import Operators
    from refinement.structure import Structure

    Progress = Callable[[str, str, float], None]

MODEL_FILE = "model.cif.gz"
STAGE = "curate"
DOWNLOAD = 0.1
"""Fraction of curation that the bar moves on during a download."""
PACKING = 4
"""Level of gzip: for a capsid of 1.9 million atoms a third of the time of level 6, and a file 6 % larger."""
CONNECTION_DEFAULTS = {
    "ptnr1_symmetry": "1_555",
    "ptnr2_symmetry": "1_555",
    "pdbx_ptnr1_PDB_ins_code": "?",
    "pdbx_ptnr2_PDB_ins_code": "?",
    "pdbx_ptnr1_label_alt_id": "?",
    "pdbx_ptnr2_label_alt_id": "?",
    "pdbx_value_order": "?",
}
"""Optional columns of _struct_conn without which the viewer of the site can't read a file."""


@dataclass(frozen=True, slots=True)
class Curated:
    """The outcome of curation.

    Attributes
    ----------
    outcome : str
        ``pass`` or ``refuse``.
    code : str
        Code of the finding that refuses; "" for a pair that passes.
    findings : tuple[Finding, ...]
        All findings, the refusing ones first.
    facts : dict[str, Any]
        What is known about the pair; JSON values, see `curation.summary.summarise`.
    resolution : float or None
        Consensus resolution in Å; None if the files give none or disagree.
    model_path : Path or None
        The curated model, with its symmetry copies if they were needed; None if refused.
    map_path : Path or None
        The primary map, None if it wasn't fetched.
    half_map_paths : tuple[Path, ...]
        Both half-maps, or none.
    contour : float or None
        Contour level that the depositors recommend.
    libraries : tuple[Path, ...]
        Restraint dictionaries to be used besides the usual ones.
    operators : Operators or None
        Exact motions between the chains of the curated model, the identity in front, if the file states any.
    """

    outcome: str
    code: str
    findings: tuple[Finding, ...]
    facts: dict[str, Any]
    resolution: float | None
    model_path: Path | None
    map_path: Path | None
    half_map_paths: tuple[Path, ...]
    contour: float | None
    libraries: tuple[Path, ...]
    operators: Operators | None

    @property
    def passed(self) -> bool:
        """Whether the pair may be refined."""
        return self.outcome == "pass"


def curate(
    pair: Pair,
    archive: Archive,
    workdir: Path,
    *,
    strict: bool = False,
    libraries: Sequence[Path] = (),
    progress: Progress | None = None,
) -> Curated:
    """Judge a pair and prepare its model.

    The cheap questions come first: a pair that its metadata exclude costs no map download.

    Parameters
    ----------
    pair : Pair
        The pair, from `curation.holdings.list_pairs` or `curation.identifiers.parse_pair`.
    archive : Archive
        Where the files are.
    workdir : Path
        Folder for the curated model ``model.cif.gz``; made if it doesn't exist.
    strict : bool
        Apply the rules literally, as in 2020; see `curation.checks`.
    libraries : sequence of Path
        Restraint dictionaries for compounds that the usual library lacks.
    progress : callable, optional
        Called with the stage, what is being done, and the fraction of curation that is done.

    Raises
    ------
    ArchiveError
        If the archive can't be reached.
    RestraintError
        If a file of `libraries` is damaged.
    """
    return _Curation(pair, archive, workdir, strict=strict, libraries=libraries, progress=progress).run()


class _Curation:
    """The steps of curation; each adds to the facts, and the rules are asked after each."""

    def __init__(
        self,
        pair: Pair,
        archive: Archive,
        workdir: Path,
        *,
        strict: bool,
        libraries: Sequence[Path],
        progress: Progress | None,
    ) -> None:
        self.archive = archive
        self.workdir = workdir
        self.strict = strict
        self.libraries = tuple(libraries)
        self.progress = progress
        self.facts = PairFacts(pair)
        self.block: gemmi.cif.Block | None = None
        self.structure: Structure | None = None
        self.assembled: Assembled | None = None
        self.map_path: Path | None = None
        self.half_map_paths: tuple[Path, ...] = ()
        self.used: dict[str, str] = {}

    def run(self) -> Curated:
        """Take one step after the other until a rule refuses or all are done."""
        for fraction, step in (
            (0.0, self.read_metadata),
            (0.2, self.read_map_headers),
            (0.5, self.read_voxels),
            (0.8, self.generate),
        ):
            step(fraction)
            if first_refusal(self.findings()) is not None:
                break
        return self.answer()

    def findings(self) -> list[Finding]:
        """Return what the rules say to the facts so far."""
        found = run_checks(self.facts, strict=self.strict)
        return found + list(self.assembled.findings if self.assembled else ())

    def read_metadata(self, fraction: float) -> None:
        """Read the EMDB header and the model."""
        pair = self.facts.pair
        self.say(f"reading the header of {pair.emdb_id}", fraction)
        path = self.fetch(header_path(pair.emdb_id), fraction, MAX_HEADER_BYTES)
        if path is not None:
            try:
                header = read_header(path)
                _require_entry(path.name, header.emdb_id, pair.emdb_id, normalise_emdb_id)
                self.facts = replace(self.facts, header=header)
            except InputError as fault:
                self.note_problem(path.name, fault)
        if pair.pdb_id is not None:
            self.say(f"reading the model {pair.pdb_id}", fraction + 0.1)
            self.read_model(pair.pdb_id, fraction + 0.1)

    def read_model(self, pdb_id: str, fraction: float) -> None:
        """Read the model, count what it consists of, and look for its compounds in the library."""
        path = self.fetch(model_path(pdb_id), fraction, MAX_MODEL_BYTES)
        if path is None:
            return
        try:
            self.block = read_block(path)
            facts = model_facts(self.block, path.name)
            _require_entry(path.name, facts.entry_id, pdb_id, normalise_pdb_id)
            self.facts = replace(self.facts, model=facts)
            self.structure = from_gemmi(_structure(self.block, path.name), name=path.name)
        except InputError as fault:
            self.note_problem(path.name, fault)
            return
        made_of = compose(self.structure, self.block)
        unknown = unknown_compounds(made_of.compounds, self.libraries)
        self.facts = replace(self.facts, composition=made_of, unknown_compounds=unknown)

    def read_map_headers(self, fraction: float) -> None:
        """Fetch the maps and read their grids."""
        header = self.facts.header
        if header is None or self.structure is None:
            return
        emdb_id = self.facts.pair.emdb_id
        self.map_path = self.fetch(map_path(emdb_id, header.map_file), fraction)
        if self.map_path is None or not self.add_grid(self.map_path, half=False):
            return
        grid = self.facts.map
        if grid is not None:
            inside = float(grid.inside(self.structure.positions).mean())
            self.facts = replace(self.facts, fraction_inside=inside)
        if len(header.half_map_files) == 2:
            paths = self.fetch_all([half_map_path(emdb_id, name) for name in header.half_map_files], fraction + 0.1)
            self.half_map_paths = tuple(path for path in paths if path is not None and self.add_grid(path, half=True))

    def add_grid(self, path: Path, *, half: bool) -> bool:
        """Read the grid of a map file; return whether it could be read."""
        try:
            grid = map_grid(path)
        except MapError as fault:
            self.note_problem(path.name, fault)
            return False
        self.facts = replace(self.facts, half_maps=(*self.facts.half_maps, grid)) if half else replace(self.facts, map=grid)
        return True

    def read_voxels(self, fraction: float) -> None:
        """Read the maps whole, so that damaged files and voxels that aren't numbers are found here."""
        if self.map_path is None:
            return
        paths = (self.map_path, *self.half_map_paths)
        samples = [sample for k, path in enumerate(paths) if (sample := self.read_one(path, fraction + 0.1 * k)) is not None]
        if len(samples) == 3 and self.facts.voxels is not None:
            compared = compare_half_maps(samples[0], samples[1:], [path.name for path in self.half_map_paths])
            self.facts = replace(self.facts, voxels=replace(self.facts.voxels, half_maps=compared))

    def read_one(self, path: Path, fraction: float) -> NDArray[np.float32] | None:
        """Read a map whole and return a sample of its voxels; the primary map is compared with the model."""
        self.say(f"reading {path.name}", fraction)
        try:
            density = read_map(path)
        except MapError as fault:
            self.note_problem(path.name, fault)
            return None
        if path == self.map_path:
            resolution = consensus_resolution(self.facts, strict=self.strict).value
            self.facts = replace(self.facts, voxels=primary_facts(density, self.structure, resolution))
        return sample_voxels(density)

    def generate(self, fraction: float) -> None:
        """Make the symmetry copies if the file holds the unique part only, and write the model."""
        if self.block is None or self.structure is None or self.facts.map is None:
            return
        self.say("generating the assembly", fraction)
        source = f"{self.facts.pair.pdb_id}.cif.gz"
        try:
            assembled = assemble(self.structure.source, self.block, self.facts.map)
            block = assembled_block(self.block, assembled)
        except AssemblyError as fault:
            self.note_problem(source, ModelError("assembly_invalid", f"The assembly of {source} makes no sense: {fault}."))
            return
        self.say("writing the curated model", fraction + 0.1)
        _write_model(block, self.workdir / MODEL_FILE)
        self.assembled = assembled

    def answer(self) -> Curated:
        """Put the outcome together."""
        findings = sorted(self.findings(), key=lambda finding: finding.severity != "refuse")
        refusal = first_refusal(findings)
        consensus = consensus_resolution(self.facts, strict=self.strict)
        made_of = self.facts.composition
        if self.assembled is not None and self.assembled.expanded:
            made_of = compose(from_gemmi(self.assembled.structure.clone()), self.block)
        revisions = {path: self.archive.revision(path) for path in self.used}
        self.say("done" if refusal is None else f"excluded: {refusal.code}", 1.0)
        return Curated(
            outcome="pass" if refusal is None else "refuse",
            code="" if refusal is None else str(refusal.code),
            findings=tuple(findings),
            facts=summarise(self.facts, consensus, made_of, self.assembled, revisions),
            resolution=consensus.value,
            model_path=self.workdir / MODEL_FILE if refusal is None else None,
            map_path=self.map_path,
            half_map_paths=self.half_map_paths if self.facts.half_maps_usable else (),
            contour=self.facts.contour,
            libraries=self.libraries,
            operators=self.assembled.exact if self.assembled is not None else None,
        )

    def fetch(self, path: str, fraction: float, max_bytes: int = MAX_FILE_BYTES) -> Path | None:
        """Fetch a file; one that is missing or damaged is a problem of the data."""
        name = path.rpartition("/")[2]
        try:
            local = self.archive.fetch(path, max_bytes=max_bytes, progress=self.reporter(name, fraction))
        except (FileMissingError, FileDamagedError) as fault:
            self.note_problem(name, fault)
            return None
        self.used[path] = name
        return local

    def fetch_all(self, paths: Sequence[str], fraction: float) -> list[Path | None]:
        """Fetch files at the same time that may be missing; one that is damaged is a problem of the data."""
        report = self.reporter(", ".join(path.rpartition("/")[2] for path in paths), fraction)
        found = self.archive.fetch_all(dict.fromkeys(paths, MAX_FILE_BYTES), progress=report)
        for path, got in found.items():
            if isinstance(got, FileDamagedError):
                self.note_problem(path.rpartition("/")[2], got)
            elif not isinstance(got, InputError):
                self.used[path] = path.rpartition("/")[2]
        return [None if isinstance(got := found[path], InputError) else got for path in paths]

    def reporter(self, names: str, fraction: float) -> Callable[[int, int | None], None]:
        """Return what reports a download, which takes up to a tenth of curation."""

        def report(have: int, size: int | None) -> None:
            whole = f" of {size / 1e6:.1f}" if size else ""
            self.say(f"fetching {names}: {have / 1e6:.1f}{whole} MB", fraction + (DOWNLOAD * have / size if size else 0.0))

        return report

    def note_problem(self, name: str, fault: InputError) -> None:
        """Keep what is wrong with a file."""
        self.facts = replace(self.facts, problems=(*self.facts.problems, Problem(name, fault.code, fault.message)))

    def say(self, doing: str, fraction: float) -> None:
        """Report progress."""
        if self.progress is not None:
            self.progress(STAGE, doing, fraction)


def _require_entry(name: str, stated: str, expected: str, normalise: Callable[[str], str]) -> None:
    """Refuse a file that says it belongs to another entry; one that says nothing is taken as it is."""
    if stated and normalise(stated) != expected:
        message = f"{name} is the file of {stated}, not of {expected}."
        raise InputError("wrong_entry", message, "The archive's copy is wrong; fetch it from another mirror.")


def _structure(block: gemmi.cif.Block, name: str) -> gemmi.Structure:
    try:
        structure = gemmi.make_structure_from_block(block)
    except (ValueError, RuntimeError, IndexError) as fault:
        message = f"The atoms of {name} can't be read: {(str(fault).splitlines() or ['?'])[0]}."
        raise ModelError("model_unreadable", message, "The file is damaged; fetch it again.") from fault
    structure.setup_entities()
    return structure


def _complete_connections(block: gemmi.cif.Block) -> None:
    """Add the optional columns that _struct_conn lacks."""
    table = block.find_mmcif_category("_struct_conn.")
    if not table:
        return
    present = {tag.partition(".")[2].lower() for tag in table.tags}  # names of tags may be in any case
    column = block.find_loop(table.tags[0])
    for name, default in CONNECTION_DEFAULTS.items():
        if name.lower() in present:
            continue
        if column:
            column.get_loop().add_columns([f"_struct_conn.{name}"], default)
        else:
            block.set_pair(f"_struct_conn.{name}", default)


def _write_model(block: gemmi.cif.Block, path: Path) -> None:
    """Write a block, its connections completed, as gzipped mmCIF; it appears under its name only when it is complete."""
    _complete_connections(block)
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        with partial.open("wb") as out:
            out.write(gzip.compress(block.as_string().encode(), PACKING, mtime=0))
            out.flush()
            os.fsync(out.fileno())
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)
