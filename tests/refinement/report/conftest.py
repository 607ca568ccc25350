"""The files of a small run, made up."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from refinement.output import write_json, write_residues
from refinement.structure import Residues
from refinement.validation.registry import BY_KEY, MASKED_TWINS

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

NAME = "<b>model</b> & 'co'.cif"
"""A name that mustn't become markup."""
N = 40


def residues() -> Residues:
    return Residues(
        chain=np.array(["A"] * 30 + ["<i>B"] * 8 + ["W"] * 2),
        number=np.r_[np.arange(1, 31), np.arange(5, 13), 1, 2].astype(np.int32),
        insertion=np.array([""] * 29 + ["A"] + [""] * 10),
        compound=np.array(["ALA"] * 30 + ["GLY"] * 8 + ["HOH"] * 2),
        kind=np.zeros(N, dtype=np.uint8),
        polymer=np.ones(N, dtype=np.bool_),
        chain_index=np.zeros(N, dtype=np.int32),
        first=np.arange(N + 1, dtype=np.int32),
    )


def columns() -> dict[str, Any]:
    rng = np.random.default_rng(0)
    protein = np.arange(N) < 38
    region = np.where(protein, 2.0, np.nan)
    region[[3, 31]] = 0.0
    region[5] = 1.0
    clashes = np.zeros(N)
    clashes[[3, 7]] = 2
    return {
        "phi": np.where(protein, rng.uniform(-80, -50, N), np.nan),
        "psi": np.where(protein, rng.uniform(-60, -30, N), np.nan),
        "rama_score": np.where(protein, 0.5, np.nan),
        "rama_class": np.where(protein, np.where(np.arange(N) < 30, 0.0, 1.0), np.nan),
        "rama_region": region,
        "n_clashes": clashes,
        "cc": rng.uniform(0.5, 0.9, N),
        "q_score": rng.uniform(0.3, 0.7, N),
        "b_iso": np.full(N, 40.0),
        "suite": np.array(["1a"] + [""] * (N - 1)),
    }


def metrics() -> dict[str, float | None]:
    keys = [*BY_KEY, *(f"{key}_masked" for key in sorted(MASKED_TWINS))]
    some = {"resolution": 3.2, "clashscore": 25.0, "rama_favored": 97.0, "rama_z": -2.5, "cc_mask": 0.7, "q_score": 0.5}
    some |= {"d_fsc_model_05": 3.5, "d_fsc_model_05_masked": 3.4, "bonds_rmsd": 0.01}
    return {key: some.get(key) for key in keys}


def details() -> dict[str, Any]:
    rank = {
        "archive": 44.0,
        "archive_count": 100,
        "neighbours": 61.0,
        "neighbours_count": 50,
        "window": [2.2, 4.2],
        "source": "EMDB",
    }
    ligand = {"chain": "A", "number": 201, "insertion": "", "compound": "HEM", "cc": 0.4, "clashes": 2.0, "flags": ["low_cc"]}
    water = {"chain": "W", "number": 1, "insertion": "", "compound": "HOH", "severity": 0.3, "suggestion": ["cation"]}
    return {
        "composition": {"atoms": N, "chains": 3, "protein": 38, "nucleic": 0, "ligand": 1, "ion": 0, "water": 2},
        "b_factors": {
            "all": {"mean": 40.0, "min": 40.0, "max": 41.0},
            "kinds": {"protein": {"mean": 40.0, "min": 40.0, "max": 41.0}},
            "histogram": {"edges": [40.0, 40.5, 41.0], "counts": [30, 10]},
        },
        "percentiles": {"q_score": rank},
        "ligands": [ligand],
        "waters": {"count": 2, "with_clashes": 1, "percent_with_clashes": 50.0, "without_density": 0, "suspicious": [water]},
        "base_pairs": {"pairs": [{"saenger": "XX", "kind": "Watson-Crick"}], "stacks": []},
    }


@pytest.fixture
def run_folder(tmp_path: Path) -> Callable[..., Path]:
    """Return a function that writes the files of a run with the given states and returns their folder."""

    def write(*states: str, curves: dict[str, Any] | None = None) -> Path:
        inputs = {
            "model": {"name": NAME, "bytes": 1234, "sha256": "0" * 64},
            "map": {"name": "map.mrc", "bytes": 5, "sha256": "1"},
        }
        table = {
            "schema": 1,
            **{state: metrics() for state in states},
            "reasons": {"emringer": "not_applicable", "d_fsc": "no_half_maps"},
            "details": {state: details() for state in states},
            "inputs": inputs,
            "settings": {"resolution": 3.2, "contour": 0.1},
            "versions": {"ceres": "0"},
            "timings_s": {"total": 1.0},
        }
        some = {
            "fsc": {
                "inverse_d": [0.1, 0.2, 0.3, 0.4],
                "model": [1.0, 0.9, 0.4, None],
                "half_maps": [1.0, 0.9, 0.5, 0.1],
                "crossings": {"d_fsc": 3.0},
            },
            "emringer": {"threshold": [0.1, 0.2], "score": [2.0, 1.0], "z": [1.0, 2.0], "rotamer_ratio": [0.5, 0.6]},
            "atom_inclusion": {"level": [0.0, 0.1, 0.2], "fraction": [1.0, 0.5, 0.0]},
        }
        write_json(tmp_path / "table_one.json", table)
        write_residues(tmp_path / "residues.parquet", {state: (residues(), columns()) for state in states})
        write_json(tmp_path / "curves.json", dict.fromkeys(states, some if curves is None else curves))
        return tmp_path

    return write
