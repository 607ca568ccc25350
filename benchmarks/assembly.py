#!/usr/bin/env python3
"""Make the sixty copies of a capsid and measure processor time and peak memory of every step.

    benchmarks/assembly.py [MODEL ...] [--atoms 31000]

Without models, the unique part is the example's molecule repeated to `--atoms` atoms, with icosahedral operators written
to ten decimals as in files of the archive. For each model the program checks that every copy lies where its operator
brings the original, that names of chains and of their parts are unique, and that links are copied. It returns 1 if that
isn't so or the copies take more than 10 s.
"""

from __future__ import annotations

import argparse
import resource
import sys
import tempfile
import time
from pathlib import Path

import gemmi
import numpy as np

# This folder has a module named as the package that is measured, and Python looks in the folder of a script first.
sys.path = [folder for folder in sys.path if Path(folder).resolve() != Path(__file__).resolve().parent]

from curation.assembly import assemble, assembled_block
from curation.curate import _write_model
from curation.example_model import build_truth
from curation.facts import Grid
from curation.metadata import read_block
from refinement.operators import turned_about

LIMIT = 10.0
EXACT = 1e-6
"""Å; operators have ten decimals, and particles a radius of some hundred Å."""
POINTS, STEP = 1000, 2.0
"""Of the empty map that holds everything; Å."""
GOLDEN = (1.0 + 5.0**0.5) / 2.0


def main() -> int:
    """Measure all models; returns 1 if a limit is missed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("models", type=Path, nargs="*", metavar="MODEL")
    parser.add_argument("--atoms", type=int, default=31_000)
    options = parser.parse_args()
    blocks = {path.name: read_block(path) for path in options.models} or {"synthetic": synthetic(options.atoms)}
    return max(measure(name, block) for name, block in blocks.items())


def icosahedral() -> np.ndarray:
    """Return the rotations of the icosahedron, shape (60, 3, 3), made of a threefold and a fivefold axis."""
    group = [np.eye(3)]
    for member in group:
        for generator in (turned_about((1.0, 1.0, 1.0), 120.0), turned_about((0.0, 1.0, GOLDEN), 72.0)):
            product = generator @ member
            if not any(np.allclose(product, other, atol=1e-6) for other in group):
                group.append(product)
    return np.array(group)


def synthetic(atoms: int) -> gemmi.cif.Block:
    """Return a unique part of that many atoms, beside the axes, and the operators."""
    source = build_truth()
    model, unique = source[0], gemmi.Structure()
    unique.name = "synthetic"
    unique.add_model(gemmi.Model(1))
    repeats = -(-atoms // model.count_atom_sites())
    for number in range(repeats):
        for chain in model:
            copy = chain.clone()
            copy.name = f"{chain.name}{number}"
            for residue in copy:
                residue.subchain = ""
                for atom in residue:
                    atom.pos += gemmi.Position(150.0 + 60.0 * (number % 4), 40.0 + 60.0 * (number // 4), 400.0)
            unique[0].add_chain(copy)
    unique.setup_entities()
    block = unique.make_mmcif_document().sole_block()
    rotations = icosahedral()
    names = [str(number) for number in range(1, len(rotations) + 1)]
    table = {"id": names, "type": ["point symmetry operation"] * len(names)}
    for i in range(3):
        table |= {f"matrix[{i + 1}][{j + 1}]": [f"{matrix[i, j]:.10f}" for matrix in rotations] for j in range(3)}
        table[f"vector[{i + 1}]"] = ["0.0000000000"] * len(names)
    block.set_mmcif_category("_pdbx_struct_oper_list.", table)
    asyms = ",".join(gemmi.cif.as_string(value) for value in block.find_values("_struct_asym.id"))
    row = {"assembly_id": ["1"], "oper_expression": ["(1-60)"], "asym_id_list": [asyms]}
    block.set_mmcif_category("_pdbx_struct_assembly_gen.", row)
    return block


def measure(name: str, block: gemmi.cif.Block) -> int:
    """Measure one model; returns 1 if a limit is missed."""
    structure = gemmi.make_structure_from_block(block)
    structure.setup_entities()
    half = -0.5 * POINTS * STEP
    cell = (POINTS * STEP,) * 3 + (90.0,) * 3
    grid = Grid("map", (POINTS,) * 3, (0, 0, 0), (half,) * 3, (STEP,) * 3, cell, (half,) * 3, (1, 2, 3), 1, 2)
    began = time.process_time()
    assembled = assemble(structure, block, grid)
    copied = time.process_time()
    print(f"{name}: {assembled.findings[0].sentence if assembled.findings else 'nothing to be copied.'}")
    if not assembled.expanded:
        return 1
    faults = check(structure, assembled)
    checked = time.process_time()
    written = assembled_block(block, assembled)
    tables = time.process_time()
    with tempfile.TemporaryDirectory() as folder:
        _write_model(written, Path(folder) / "model.cif.gz")
    packed = time.process_time()
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    print(
        f"  copies {copied - began:.1f} s, tables {tables - checked:.1f} s, packed file {packed - tables:.1f} s,"
        f" at most {memory:.1f} GiB; limit for the copies {LIMIT:.0f} s"
    )
    for fault in faults:
        print(f"  {fault}")
    return int(bool(faults) or copied - began > LIMIT)


def check(structure: gemmi.Structure, assembled: object) -> list[str]:
    """Return what is wrong with the copies."""
    whole, operators = assembled.structure, assembled.operators
    before, after = (np.array([site.atom.pos.tolist() for site in one[0].all()]) for one in (structure, whole))
    images = [before, *(before @ operator.matrix.T + operator.vector for operator in operators)]
    faults = []
    if len(after) != len(images) * len(before):
        faults.append(f"{len(images) * len(before) - len(after)} atoms on axes were merged, so that places are not compared")
    elif (apart := np.abs(after - np.concatenate(images)).max()) > EXACT:
        faults.append(f"copies lie up to {apart:.2g} Å off")
    parts = [part.subchain_id() for chain in whole[0] for part in chain.subchains()]
    names = {(chain.name, part.subchain_id()) for chain in whole[0] for part in chain.subchains()}
    chains = {chain.name for chain in structure[0]}
    if len(set(parts)) < len(parts) or len({name for name, _ in names}) != len(images) * len(chains):
        faults.append("names of chains occur twice")
    if len(whole.connections) != len(images) * len(structure.connections):
        faults.append(f"{len(structure.connections)} links became {len(whole.connections)}")
    return faults


if __name__ == "__main__":
    sys.exit(main())
