#!/usr/bin/env python3
"""Time and memory of listing all pairs and of curating large entries.

    benchmarks/curation.py [--archive FOLDER] [--model FILE]

Three things are measured, each in a process of its own: the list of 60,000 maps and 230,000 models from holdings files of
the archives' shape, whose links are remembered from an earlier list (35,000 pairs); a pair with a model of 165,000 atoms,
made from copies of the example molecule or given as ``--model`` (mmCIF), in a map calculated for it; and the passing pairs
of ``--archive``, of which the one that takes longest is shown, without the time that reading its files takes alone.
Returns 1 if a limit is exceeded. ``CERES_MUTATIONS=2000 python -m pytest tests/curation/test_mutations.py`` curates 2,000
damaged files.
"""

from __future__ import annotations

import argparse
import gzip
import itertools
import json
import string
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

# This folder has files with the names of packages, and Python looks in the folder of a script first.
sys.path = [folder for folder in sys.path if Path(folder).resolve() != Path(__file__).resolve().parent]
sys.path.append(str(Path(__file__).resolve().parent.parent))

import gemmi
import numpy as np
from scipy import ndimage

from curation.archive import EMDB_HOLDINGS, PDB_DATES, PDB_HOLDINGS, Archive, header_path, map_path, model_path
from curation.curate import curate
from curation.example_model import build_truth
from curation.holdings import list_pairs
from curation.identifiers import parse_pair
from curation.metadata import read_block
from curation.remembered import HEADER_MEMORY_FILE, RememberedLinks
from refinement.maps.density import Density, read_map, write_map
from refinement.structure import Structure, from_gemmi, read_structure

if TYPE_CHECKING:
    from collections.abc import Iterator

MAPS, MODELS, LINKED = 60_000, 230_000, 35_000
LISTING_SECONDS, CURATION_SECONDS, LARGE_SECONDS = 20.0, 3.0, 10.0
MEMORY = 2 << 30
ATOMS = 165_000
PAIR = "9lar_99999"
DATE = "2026-01-07"
HEADER = """<emd emdb_id="EMD-99999" version="3.0.11.3"><admin><current_status><code>REL</code></current_status></admin>
<crossreferences><pdb_list><pdb_reference><pdb_id>9lar</pdb_id></pdb_reference></pdb_list></crossreferences>
<structure_determination_list><structure_determination><method>singleParticle</method>
<singleparticle_processing><final_reconstruction><resolution>3.0</resolution></final_reconstruction>
</singleparticle_processing></structure_determination></structure_determination_list>
<map><file>emd_99999.map.gz</file></map></emd>"""


def main() -> int:
    """Measure and print; returns 1 if a limit is exceeded."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--archive", type=Path, help="folder with pdb/ and emdb/ whose pairs are curated")
    parser.add_argument("--model", type=Path, help="mmCIF file to take instead of copies of the example molecule")
    parser.add_argument("--part", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.part:
        print(json.dumps(PARTS[options.part[0]](Path(options.part[1]))))
        return 0
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        write_holdings(root / "holdings")
        atoms = write_large(root / "large", options.model)
        rows = [
            (f"list of {MAPS:,} maps and {MODELS:,} models", part("listing", root / "holdings"), LISTING_SECONDS),
            (f"curation of {atoms:,} atoms", part("large", root / "large"), LARGE_SECONDS),
        ]
    if options.archive:
        found = part("archive", options.archive)
        rows.append((f"curation of {found['pair']} beside reading", found, CURATION_SECONDS))
    print(f"{'':50}{'clock s':>9}{'CPU s':>8}{'limit s':>9}{'MiB':>7}  what came out")
    for name, found, limit in rows:
        print(f"{name:50}{found['clock']:9.2f}{found['cpu']:8.2f}{limit:9.0f}{found['memory'] >> 20:7}  {found['result']}")
    return int(any(found["clock"] > limit or found["memory"] > MEMORY for _, found, limit in rows))


def part(name: str, folder: Path) -> dict[str, Any]:
    """Measure one part in a process of its own."""
    command = [sys.executable, __file__, "--part", name, str(folder)]
    found = subprocess.run(command, capture_output=True, text=True, check=True)
    row: dict[str, Any] = json.loads(found.stdout.splitlines()[-1])
    return row


def measure_listing(folder: Path) -> dict[str, Any]:
    """List the synthetic holdings."""
    archive = Archive(folder, folder / "cache")
    timer = Timer()
    pairs = list_pairs(archive)
    there = sum(pair.pdb_id is not None for pair in pairs)
    return {**timer.row(), "result": f"{there:,} pairs, {len(pairs) - there:,} maps without a model"}


def measure_large(folder: Path) -> dict[str, Any]:
    """Curate the large pair, when everything that is loaded once is loaded."""
    curate(parse_pair("9non_99998"), Archive(folder), folder / "none")
    timer = Timer()
    result = curate(parse_pair(PAIR), Archive(folder), folder / "work")
    return {**timer.row(), "result": result.code or "pass"}


def measure_archive(folder: Path) -> dict[str, Any]:
    """Curate every pair twice and return the one that takes longest beside the reading of its files."""
    archive = Archive(folder)
    rows: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as work:
        for pair in list_pairs(archive):
            if not curate(pair, archive, Path(work)).passed or pair.pdb_id is None:
                continue
            timer = Timer()
            result = curate(pair, archive, Path(work))
            whole = timer.row()
            timer = Timer()
            read_block(archive.fetch(model_path(pair.pdb_id)))
            for path in (archive.fetch(map_path(pair.emdb_id)), *result.half_map_paths):
                read_map(path)
            reading = timer.row()
            beside = {key: whole[key] - reading[key] for key in ("clock", "cpu")}
            rows.append({**whole, **beside, "pair": pair.key, "result": f"{result.facts['atoms']:,} atoms"})
    return max(rows, key=lambda row: float(row["clock"]))


PARTS = {"listing": measure_listing, "large": measure_large, "archive": measure_archive}


class Timer:
    """Clock and processor since it was made, and the most memory that the process has had (Linux only)."""

    def __init__(self) -> None:
        self.clock, self.cpu = time.perf_counter(), time.process_time()

    def row(self) -> dict[str, Any]:
        """Return seconds by the clock and of the processor, and bytes."""
        status = Path("/proc/self/status").read_text(encoding="ascii")
        memory = next(1024 * int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM:"))
        return {"clock": time.perf_counter() - self.clock, "cpu": time.process_time() - self.cpu, "memory": memory}


def write_holdings(folder: Path) -> None:
    """Write holdings files of the archives' shape, and remember links for a part of the entries."""
    models = list(itertools.islice(pdb_ids(), MODELS))
    maps = [f"EMD-{number:04d}" for number in range(1, MAPS + 1)]
    stated = {"release_date": DATE, "last_modified_date": DATE}
    rows = {name.upper(): content_types(name, crystal=k % 7 > 0) for k, name in enumerate(models)}
    write(folder / PDB_HOLDINGS, gzip.compress(json.dumps(rows).encode(), 1))
    write(folder / PDB_DATES, gzip.compress(json.dumps({name.upper(): DATE for name in models}).encode(), 1))
    write(folder / EMDB_HOLDINGS, json.dumps(dict.fromkeys(maps, stated)).encode())
    archive = Archive(folder, folder / "cache")
    linked = [name for k, name in enumerate(models) if k % 7 == 0][:LINKED]
    for file, entries, others in (("model_links.json", linked, maps), (HEADER_MEMORY_FILE, maps, linked)):
        memory = RememberedLinks(archive.cache, dict.fromkeys(entries, DATE), str(archive), file)
        for k, entry in enumerate(entries):
            memory.put(entry, (others[k],) if k < len(others) else ())
        memory.save()


def content_types(name: str, *, crystal: bool) -> dict[str, list[str]]:
    """Return a row of the PDB's holdings."""
    middle = name[1:3]
    report = f"/pdb/validation_reports/{middle}/{name}/{name}"
    row = {
        "mmcif": [f"/pdb/data/structures/divided/mmCIF/{middle}/{name}.cif.gz"],
        "pdb": [f"/pdb/data/structures/divided/pdb/{middle}/pdb{name}.ent.gz"],
        "pdbml": [f"/pdb/data/structures/divided/XML/{middle}/{name}.xml.gz"],
        "assembly_mmcif": [f"/pdb/data/assemblies/mmCIF/divided/{middle}/{name}-assembly1.cif.gz"],
        "validation_report": [f"{report}_{kind}.gz" for kind in ("validation.pdf", "validation.xml", "validation.cif")],
    }
    if crystal:
        row["structure_factors"] = [f"/pdb/data/structures/divided/structure_factors/{middle}/r{name}sf.ent.gz"]
    return row


def pdb_ids() -> Iterator[str]:
    """Yield 1000, 1001, ..., 100z, 1010, ..."""
    letters = string.digits + string.ascii_lowercase
    return map("".join, itertools.product(string.digits[1:], letters, letters, letters))


def write_large(folder: Path, model: Path | None) -> int:
    """Write a pair with a large model and a map of it; returns the number of atoms."""
    structure = read_structure(model) if model else lattice()
    block = structure.source.make_mmcif_document().sole_block()
    block.set_pair("_entry.id", "9LAR")
    block.set_pair("_exptl.method", "'ELECTRON MICROSCOPY'")
    write(folder / model_path("9lar"), gzip.compress(block.as_string().encode(), 1))
    write(folder / header_path("EMD-99999"), HEADER.encode())
    path = folder / map_path("EMD-99999")
    path.parent.mkdir(parents=True)
    write_map(path, density_of(structure))
    return len(structure)


def lattice() -> Structure:
    """Return copies of the example molecule on a lattice, each with chains of its own."""
    source = build_truth()
    molecule = source[0]
    size = sum(chain.count_atom_sites() for chain in molecule)
    side = 1 + int((ATOMS / size) ** (1 / 3))
    large = gemmi.Model(1)
    box = from_gemmi(source).positions
    step = np.ptp(box, axis=0) + 4.0
    places = itertools.islice(itertools.product(range(side), repeat=3), -(-ATOMS // size))
    for number, place in enumerate(places):
        for chain in molecule:
            copy = chain.clone()
            copy.name = f"{chain.name}{number}"
            shift = gemmi.Position(*(step * np.array(place)).tolist())
            for residue in copy:
                residue.subchain = ""
                for atom in residue:
                    atom.pos += shift
            large.add_chain(copy)
    whole = gemmi.Structure()
    whole.add_model(large)
    whole.setup_entities()
    whole.assign_label_seq_id()
    return from_gemmi(whole)


def density_of(structure: Structure) -> Density:
    """Return a map of about 3 Å with steps of 1.5 Å: atoms on the grid, smoothed."""
    step, margin = 1.5, 15.0
    low = structure.positions.min(axis=0) - margin
    dims = np.ceil((structure.positions.max(axis=0) + margin - low) / step).astype(int)
    values = np.zeros(dims, dtype=np.float32)
    np.add.at(values, tuple(np.round((structure.positions - low) / step).astype(int).T), 1.0)
    values = ndimage.gaussian_filter(values, 0.7 / step)
    return Density(values, gemmi.UnitCell(*(step * dims).tolist(), 90, 90, 90), low)


def write(path: Path, data: bytes) -> None:
    """Write a file and the folders it needs."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)


if __name__ == "__main__":
    sys.exit(main())
