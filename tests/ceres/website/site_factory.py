"""Entries, jobs and results for tests of the pages: made in the database, with small real files in the storage."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import tempfile
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Any

import gemmi
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from django.core.files.base import ContentFile
from django.core.files.storage import storages

from ceres.models import METRIC_KEYS, Artifact, ArtifactKind, Entry, Job, Result, Run, Stage, State, metric_column
from refinement.validation.registry import BY_KEY

if TYPE_CHECKING:
    from collections.abc import Mapping

INITIAL = {
    "cc_mask": 0.612,
    "cc_box": 0.58,
    "q_score": 0.41,
    "clashscore": 21.3,
    "rama_outliers": 1.25,
    "rotamer_outliers": 8.6,
    "rama_z": -2.53,
    "bonds_rmsd": 0.0124,
    "angles_rmsd": 1.66,
    "rama_favored": 91.2,
    "resolution": 3.2,
    "map_mean": 0.0,
    "map_sd": 0.05,
    "d_99": 3.4,
    "cbeta_deviations": 4.0,
}
REFINED = {
    "cc_mask": 0.748,
    "cc_box": 0.66,
    "q_score": 0.47,
    "clashscore": 5.1,
    "rama_outliers": 0.0,
    "rotamer_outliers": 0.4,
    "rama_z": 1.79,
    "bonds_rmsd": 0.0051,
    "angles_rmsd": 0.82,
    "rama_favored": 97.4,
    "resolution": 3.2,
    "map_mean": 0.0,
    "map_sd": 0.05,
    "d_99": 3.4,
    "cbeta_deviations": 0.0,
    "rmsd_to_initial": 0.61,
}
REASONS = {"fsc_work": "no_half_maps", "fsc_free": "no_half_maps", "emringer": "resolution_too_low"}
CYCLE = {
    "bonds_rmsd": 0.0051,
    "angles_rmsd": 0.82,
    "rama_favored": 97.4,
    "rama_outliers": 0.0,
    "rama_z": 1.79,
    "rotamer_outliers": 0.4,
}
REFINEMENT = {
    "kept": "cycle 2",
    "verdict": "Cycle 2 is kept: it fits best, and none of the 3 cycles did harm; CC_mask 0.612 → 0.748.",
    "start": {"state": "deposited", "cc_mask": 0.612, "clashscore": 21.3, **{key: INITIAL[key] for key in CYCLE}},
    "cycles": [
        {"state": f"cycle {number}", "cycle": number, "cc_mask": 0.65 + 0.01 * number, "clashscore": 9.0 - number,
         "weight": 11.86, "moves_made": 5 - number, "moves_undone": number // 3, "cycle_seconds": 1.25 * number, **CYCLE}
        for number in (1, 2, 3)
    ],
    "changes": {
        "counts": {"rotamers": 14, "peptides": 1, "moved": 0, "fit_better": 2, "fit_worse": 1},
        "rotamers": [
            {"chain": "A", "number": number, "compound": "LYS", "from": "mttt", "to": "ptmt"} for number in range(1, 15)
        ],
        "peptides": [{"chain": "B", "number": 7, "compound": "GLY", "insertion": "A"}],
        "fit_better": [{"chain": "A", "number": number, "compound": "ALA", "from": 0.31, "to": 0.62} for number in (3, 4)],
        "fit_worse": [{"chain": "B", "number": 9, "compound": "ALA", "from": 0.55, "to": 0.41}],
    },
}  # fmt: skip
RESIDUES = 24
CHAINS = ("A", "B")
HELIX = {
    "N": (1.55, -27.7, -0.90),
    "CA": (2.28, 0.0, 0.0),
    "C": (1.68, 26.4, 1.10),
    "O": (2.06, 21.0, 2.30),
    "CB": (3.30, -18.0, -0.35),
}
"""Radius (Å), angle (°) and height (Å) of the atoms of one residue of an α-helix."""


COMPOSITION: dict[str, Any] = {
    "altloc_atoms": 34,
    "anisotropic": 12,
    "alternates": {"residues": 2, "atoms": 34, "letters": ["A", "B"], "fraction": 0.0015},
    "sequences": [
        {"entity": "1", "kind": "protein", "length": 664, "chains": ["A"], "modelled": 640, "missing": [[1, 20], [301, 304]],
         "different": 1},
        {"entity": "1", "kind": "protein", "length": 664, "chains": ["B"], "modelled": 664, "missing": [], "different": 0},
    ],
    "ligands": {"CA": 3, "NAG": 4, "POV": 2, "DRG": 1},
    "hetero": {"ion": {"CA": 3}, "sugar": {"NAG": 4}, "lipid": {"POV": 2}, "other": {"DRG": 1}, "unknown": {}},
    "glycans": [{"name": "NAG(1-4)NAG", "linkage": "N-linked", "count": 2, "sites": ["A/ASN 67", "B/ASN 67"]}],
    "modified": {"SEP": 2},
    "parents": {"SEP": "S"},
    "unknown": {"UNK": 5},
    "names": {"CA": "CALCIUM ION", "NAG": "2-acetamido-2-deoxy-beta-D-glucopyranose", "SEP": "PHOSPHOSERINE"},
    "b_factors": {
        "all": {"atoms": 10_240, "min": 12.0, "mean": 54.2, "median": 50.0, "max": 180.0, "zero": 0},
        "protein": {"atoms": 10_150, "min": 12.0, "mean": 54.0, "median": 50.0, "max": 180.0, "zero": 0},
        "water": {"atoms": 60, "min": 20.0, "mean": 44.0, "median": 43.0, "max": 80.0, "zero": 1},
    },
    "b_histogram": [0, 40, 300, 1500, 2400, 2600, 1600, 900, 500, 250, 90, 30, 12, 8, 4, 3, 2, 1, *12 * [0], 0],
    "occupancy": {
        "all": {"mean": 0.99, "min": 0.0, "max": 1.0, "zero": 7, "negative": 0, "above_one": 0, "partial": 34},
        "protein": {"mean": 0.99, "min": 0.0, "max": 1.0, "zero": 7, "negative": 0, "above_one": 0, "partial": 34},
    },
}  # fmt: skip
"""What curation says about a model, as far as `make_entry` doesn't."""


def make_entry(key: str = "6udk_20740", *, composition: Mapping[str, Any] | None = None, **columns: Any) -> Entry:
    """Make an entry; without `composition` it has what the first versions of the service knew of a model."""
    composition = composition or {}
    pdb_id, _, number = key.partition("_")
    defaults: dict[str, Any] = {
        "pdb_id": pdb_id,
        "emdb_id": f"EMD-{number}",
        "title": "Structure of a channel in lipid nanodiscs",
        "method": "single particle",
        "released": date(2020, 2, 5),
        "resolution": 3.2,
        "atoms": 10_240,
        "chains": 2,
        "facts": {
            "header": {"contour": 0.12, "symmetry": ["C4"], "half_map_files": []},
            "composition": {
                "atoms": 10_240,
                "hydrogens": 0,
                "altloc_atoms": 0,
                "chains": ["A", "B"],
                "residues": {"protein": 1280, "water": 60},
                "ligands": {"CA": 3},
                "modified": {},
                "b_factors": {"all": {"min": 12.0, "mean": 54.2, "max": 180.0}},
                **composition,
            },
            "map": {"dims": [256, 256, 256], "voxel": [1.06, 1.06, 1.06]},
        },
    }
    return Entry.objects.create(key=key, **{**defaults, **columns})


def make_run(label: str = "2026-11") -> Run:
    defaults = {"engine_version": "0.1.0", "settings_hash": "5e" * 32, "archive": "archive"}
    return Run.objects.get_or_create(label=label, defaults=defaults)[0]


def make_job(entry: Entry, run: str = "2026-11", state: str = State.REFUSED, **columns: Any) -> Job:
    defaults: dict[str, Any] = {"stage": Stage.CURATE}
    if state in {State.REFUSED, State.FAILED}:
        defaults |= {
            "code": "RESOLUTION_MISMATCH",
            "message": "The map states 4.0 Å, the model 6.0 Å.",
            "hint": "The authors can correct one of the two entries.",
            "findings": [
                {
                    "code": "RESOLUTION_MISMATCH",
                    "severity": "refuse",
                    "sentence": "The map states 4.0 Å, the model 6.0 Å.",
                    "numbers": {"map": 4.0, "model": 6.0},
                    "hint": "The authors can correct one of the two entries.",
                }
            ],
        }
    return Job.objects.create(entry=entry, run=make_run(run), archive="archive", state=state, **{**defaults, **columns})


def make_result(
    entry: Entry,
    run: str = "2026-11",
    *,
    initial: Mapping[str, float] = INITIAL,
    refined: Mapping[str, float] = REFINED,
    verdict: str = "improved",
    files: bool = False,
    **columns: Any,
) -> Result:
    job = make_job(entry, run, State.PUBLISHED, stage=Stage.PUBLISH)
    moves = [BY_KEY[key].compare(initial.get(key), refined.get(key)) for key in BY_KEY]
    values = {metric_column("initial", key): initial.get(key) for key in METRIC_KEYS}
    values |= {metric_column("refined", key): refined.get(key) for key in METRIC_KEYS}
    defaults: dict[str, Any] = {
        "reasons": REASONS,
        "inputs": {
            "archive": "/var/secret/archive",
            "archive_files": [{"name": "emdb/structures/EMD-20740/map/emd_20740.map.gz", "sha256": "ef" * 32, "bytes": 5}],
            "model": {"name": "6udk.cif.gz", "sha256": "ab" * 32, "bytes": 812_345},
            "map": {"name": "emd_20740.map.gz", "sha256": "cd" * 32},
        },
        "settings": {"protocol": "default", "seed": 0},
        "versions": {"gemmi": "0.7.5"},
        "timings": {"refinement": 81.4, "validation": 12.2},
        "refinement": REFINEMENT,
        "findings": [
            {
                "code": "RESOLUTION_ROUNDED",
                "severity": "warn",
                "sentence": "The map states 3.20 Å, the model 3.2 Å.",
                "numbers": {},
                "hint": "",
            }
        ],
    }
    result = Result.objects.create(
        job=job,
        entry=entry,
        run=job.run,
        verdict=verdict,
        better=moves.count("better"),
        worse=moves.count("worse"),
        compared=len(moves) - moves.count("unknown"),
        **{**defaults, **values, **columns},
    )
    Entry.objects.filter(pk=entry.pk).update(latest_result=result)
    entry.refresh_from_db()
    if files:
        store_files(result)
    return result


def store_files(result: Result) -> None:
    initial, refined = helix(shift=0.0), helix(shift=0.6)
    contents = {
        ArtifactKind.REFINED_MODEL: ("refined.cif.gz", gzip.compress(refined.make_mmcif_document().as_string().encode())),
        ArtifactKind.INITIAL_MODEL: ("model_initial.cif.gz", gzip.compress(initial.make_mmcif_document().as_string().encode())),
        ArtifactKind.BOXED_MAP: ("boxed_map.ccp4.gz", gzip.compress(map_around(refined))),
        ArtifactKind.TABLE_ONE: ("table_one.json", json.dumps({"schema": 1}).encode()),
        ArtifactKind.CHANGES: ("changes.json", json.dumps({"schema": 1}).encode()),
        ArtifactKind.RESIDUES: ("residues.parquet", residues_parquet()),
        ArtifactKind.LOG_TEXT: ("log.txt", b"     0.00 s  Started\n"),
    }
    for kind, (name, content) in contents.items():
        key = f"runs/{result.run.label}/{result.entry.folder}/{result.entry.key}/{name}"
        storages["artifacts"].save(key, ContentFile(content))
        digest = hashlib.sha256(content).hexdigest()
        Artifact.objects.create(result=result, kind=kind, storage_key=key, sha256=digest, size=len(content))


def helix(*, shift: float) -> gemmi.Structure:
    """Two parallel α-helices of alanines; `shift` (Å) moves every fourth residue outwards."""
    structure = gemmi.Structure()
    structure.name = "helices"
    structure.cell = gemmi.UnitCell(60, 60, 60, 90, 90, 90)
    structure.spacegroup_hm = "P 1"
    model = gemmi.Model(1)
    for index, name in enumerate(CHAINS):
        chain = gemmi.Chain(name)
        for number in range(RESIDUES):
            residue = gemmi.Residue()
            residue.name, residue.seqid, residue.entity_type = "ALA", gemmi.SeqId(number + 1, " "), gemmi.EntityType.Polymer
            residue.subchain = f"{name}p"
            for atom_name, (radius, angle, height) in HELIX.items():
                turn = np.radians(100.0 * number + angle)
                out = radius + (shift if number % 4 == 0 else 0.0)
                atom = gemmi.Atom()
                atom.name, atom.element = atom_name, gemmi.Element(atom_name[0])
                atom.pos = gemmi.Position(
                    25 + 10 * index + out * np.cos(turn), 30 + out * np.sin(turn), 12 + 1.5 * number + height
                )
                atom.b_iso, atom.occ = 40.0, 1.0
                residue.add_atom(atom)
            chain.add_residue(residue)
        model.add_chain(chain)
    structure.add_model(model)
    structure.setup_entities()
    structure.entities[0].name = "helix"  # ids of entities need not be numbers
    structure.connections.append(link_between_chains())
    return structure


def link_between_chains() -> gemmi.Connection:
    """A link as gemmi writes it: without bond order, which some readers don't expect."""
    link = gemmi.Connection()
    link.name, link.type, link.asu = "link1", gemmi.ConnectionType.Covale, gemmi.Asu.Same
    link.partner1, link.partner2 = (gemmi.AtomAddress(chain, gemmi.SeqId(5, " "), "ALA", "CB") for chain in CHAINS)
    return link


def map_around(structure: gemmi.Structure) -> bytes:
    calculator = gemmi.DensityCalculatorX()
    calculator.d_min = 3.0
    calculator.rate = 1.5
    calculator.set_grid_cell_and_spacegroup(structure)
    calculator.put_model_density_on_grid(structure[0])
    ccp4 = gemmi.Ccp4Map()
    ccp4.grid = calculator.grid
    ccp4.update_ccp4_header()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "map.ccp4"
        ccp4.write_ccp4_map(str(path))
        return path.read_bytes()


def residues_parquet() -> bytes:
    """One row per residue and state as the engine writes it."""
    rows = [(state, chain, number) for state in ("initial", "refined") for chain in CHAINS for number in range(1, RESIDUES + 1)]
    better = np.array([0.12 if state == "refined" else 0.0 for state, _, _ in rows])
    wave = np.array([np.sin(number / 3) for _, _, number in rows])
    flags = [number in ({5, 9} if state == "initial" else {9}) and chain == "A" for state, chain, number in rows]
    table = pa.table(
        {
            "state": pa.array([row[0] for row in rows]).dictionary_encode(),
            "chain": pa.array([row[1] for row in rows]).dictionary_encode(),
            "number": pa.array([row[2] for row in rows], type=pa.int32()),
            "insertion_code": pa.array([""] * len(rows)).dictionary_encode(),
            "compound": pa.array(["ALA"] * len(rows)).dictionary_encode(),
            "cc": pa.array((0.6 + 0.15 * wave + better).astype(np.float32)),
            "q_score": pa.array((0.4 + 0.1 * wave + better).astype(np.float32)),
            "rama_region": pa.array([0.0 if flag else 2.0 for flag in flags], type=pa.float32()),
        }
    )
    buffer = io.BytesIO()
    pq.write_table(table, buffer, compression="zstd")
    return buffer.getvalue()
