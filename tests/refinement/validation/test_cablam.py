"""CaBLAM with contour grids of our own making; the published ones are not part of the project."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from refinement.conformers import NamedAtoms
from refinement.errors import InputError
from refinement.structure import read_structure
from refinement.tables.cablam_files import (
    BLOB_IDS,
    CLASSES,
    ContourGrid,
    expected_grids,
    git_blob_id,
    install,
    parse_grid,
    tables_folder,
    write_grids,
)
from refinement.validation.cablam import cablam, measure, suggestions

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from refinement.structure import Structure
    from refinement.validation.cablam import Measures

Peptides = Any


def grid(values: Any, third: tuple[float, float, bool] = (-180.0, 180.0, True)) -> ContourGrid:
    lower, upper, wraps = third
    edges = np.array([-180.0, -180.0, lower]), np.array([180.0, 180.0, upper])
    return ContourGrid(np.asarray(values, dtype=np.float32), *edges, np.array([True, True, wraps]))


def flat(peptide: dict[str, float], trace: float = 1.0) -> dict[str, ContourGrid]:
    """Return grids of one height per class."""
    grids = {name: grid(np.full((4, 4, 4), peptide.get(name, 1.0))) for name in CLASSES}
    return grids | {f"{name}_CA": grid(np.full((4, 4, 4), trace), (0, 180, False)) for name in CLASSES}


def wavy() -> dict[str, ContourGrid]:
    """Return grids whose heights are a formula; an independent program was given the same ones."""
    grids = {}
    for number, name in enumerate(CLASSES):
        for suffix, cells, third in (("", 24, (-180.0, 180.0, True)), ("_CA", 20, (60.0, 160.0, False))):
            i, j, k = np.indices((36, 36, cells))
            grids[f"{name}{suffix}"] = grid(0.1 * np.abs(np.sin(0.2 * i + 0.3 * j + 0.4 * k + number)) ** 3, third)
    return grids


@pytest.fixture(autouse=True)
def no_tables(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CERES_TABLES", str(tmp_path / "tables"))


def measured(structure: Structure) -> Measures:
    return measure(structure, next(NamedAtoms(structure, ("N", "CA", "C", "O")).conformers()))


def dihedral(a: Any, b: Any, c: Any, d: Any) -> float:
    axis = (c - b) / np.linalg.norm(c - b)
    u, v = a - b - (a - b) @ axis * axis, d - c - (d - c) @ axis * axis
    return float(np.degrees(np.arctan2(np.cross(axis, u) @ v, u @ v)))


# ------------------------------------------------------------------------------------------------- measures


def test_measures_follow_their_definitions(peptide: Callable[..., Peptides], rng: np.random.Generator) -> None:
    model = peptide(["ALA"] * 7, phi=rng.uniform(-150, -50, 7), psi=rng.uniform(-60, 160, 7))
    at = {(site.number, site.name): site.position for site in model.sites}
    ca = [at[k, "CA"] for k in range(1, 8)]
    found = measured(model.structure())
    assert found.mu_in[3] == pytest.approx(dihedral(ca[1], ca[2], ca[3], ca[4]))
    assert found.mu_out[3] == pytest.approx(dihedral(ca[2], ca[3], ca[4], ca[5]))
    leg, other = ca[2] - ca[3], ca[4] - ca[3]
    assert found.ca_angle[3] == pytest.approx(np.degrees(np.arccos(leg @ other / np.linalg.norm(leg) / np.linalg.norm(other))))
    feet = []
    for k in (3, 4):
        axis = (at[k + 1, "CA"] - at[k, "CA"]) / np.linalg.norm(at[k + 1, "CA"] - at[k, "CA"])
        feet.append(at[k, "CA"] + (at[k, "O"] - at[k, "CA"]) @ axis * axis)
    assert found.nu[3] == pytest.approx(dihedral(at[3, "O"], feet[0], feet[1], at[4, "O"]))
    assert np.isnan(found.mu_in).tolist() == [True, True, False, False, False, False, True]
    assert np.isnan(found.mu_out).tolist() == [True, False, False, False, False, True, True]
    assert np.isnan(found.nu).tolist() == [True, *[False] * 5, True]


def test_classes(peptide: Callable[..., Peptides]) -> None:
    model = peptide(["ALA", "GLY", "PRO", "PRO", "VAL"], omega=[180, 180, 20, 95, 0])
    assert [CLASSES[k] for k in measured(model.structure()).category] == ["general", "gly", "cispro", "transpro", "general"]


def test_residues_are_joined_by_peptide_bonds_or_by_the_trace(peptide: Callable[..., Peptides]) -> None:
    chain = peptide(["ALA"] * 8)
    apart = chain.changed(lambda s: replace(s, position=s.position + (s.number > 4) * np.array([0.0, 0.0, 4.0])))
    assert measured(apart.structure()).following[3] == -1
    trace = chain.without(*[(k, name) for k in range(1, 9) for name in ("N", "C", "O", "CB")])
    assert measured(trace.structure()).following.tolist() == [1, 2, 3, 4, 5, 6, 7, -1]
    assert measured(chain.without((4, "O")).structure()).following[3] == 4
    assert measured(chain.without((4, "CA")).structure()).following[2:4].tolist() == [-1, -1]
    two = chain.changed(lambda s: replace(s, chain="AB"[s.number > 4]))
    assert measured(two.structure()).following[3] == -1
    inserted = chain.changed(lambda s: replace(s, number=min(s.number, 5), insertion="" if s.number < 6 else "ABC"[s.number - 6]))
    assert measured(inserted.structure()).following.tolist() == [1, 2, 3, 4, 5, 6, 7, -1]


# ----------------------------------------------------------------------------------------- scores, counting


def test_each_class_has_its_own_grids(peptide: Callable[..., Peptides]) -> None:
    model = peptide(["ALA", "ALA", "GLY", "PRO", "PRO", "ALA", "ALA"], omega=[180, 180, 180, 0, 180, 180, 180])
    heights = {"gly": 0.009, "cispro": 0.04, "transpro": 0.2, "general": 1.0}
    result = cablam(model.structure(), flat(heights, trace=0.004))
    np.testing.assert_allclose(result.peptide_score[2:5], [0.009, 0.04, 0.2], rtol=1e-6)
    assert np.isnan(result.peptide_score[[0, 1, 5, 6]]).all()
    assert result.summary == pytest.approx(
        {"cablam_outliers": 100 / 3, "cablam_disfavored": 200 / 3, "ca_geometry_outliers": 100.0}
    )
    assert result.reasons == {}
    assert (result.suggestion == "").all(), "an unusual trace suggests nothing"


def test_a_residue_counts_once_with_its_worst_conformer(peptide: Callable[..., Peptides]) -> None:
    both = peptide(["ALA"] * 7).split(lambda s: s.number == 4 and s.name == "O", shift=0.0)
    one = next(site for site in both.sites if site.letter == "B")
    one.position = 2 * next(s.position for s in both.sites if (s.number, s.name) == (4, "C")) - one.position
    alone = [
        cablam(type(both)([replace(s, letter="") for s in both.sites if s.letter in {"", x}]).structure(), wavy()) for x in "AB"
    ]
    together = cablam(both.structure(), wavy())
    lowest = np.fmin(alone[0].peptide_score, alone[1].peptide_score)
    assert alone[0].peptide_score[3] != pytest.approx(alone[1].peptide_score[3])
    np.testing.assert_allclose(together.peptide_score, lowest)
    assert together.details["cablam"]["residues"] == 3


def test_frame_and_chain_names_do_not_matter(peptide: Callable[..., Peptides], rng: np.random.Generator) -> None:
    model = peptide(["ALA", "GLY", "PRO", "LYS"] * 4, phi=rng.uniform(-150, -50, 16), psi=rng.uniform(-60, 160, 16))
    turn = np.linalg.qr(rng.normal(size=(3, 3)))[0]
    turn *= np.sign(np.linalg.det(turn))
    moved = model.changed(lambda s: replace(s, chain="long", position=turn @ s.position + 50.0))
    before, after = cablam(model.structure(), wavy()), cablam(moved.structure(), wavy())
    np.testing.assert_allclose(after.peptide_score, before.peptide_score, atol=1e-6)
    np.testing.assert_allclose(after.trace_score, before.trace_score, atol=1e-6)
    assert after.suggestion.tolist() == before.suggestion.tolist()


def test_trace_alone_gives_trace_geometry(peptide: Callable[..., Peptides]) -> None:
    trace = peptide(["ALA"] * 9)
    trace.sites = [site for site in trace.sites if site.name == "CA"]
    result = cablam(trace.structure(), flat({}))
    assert result.summary == {"cablam_outliers": None, "cablam_disfavored": None, "ca_geometry_outliers": 0.0}
    assert result.reasons == dict.fromkeys(("cablam_outliers", "cablam_disfavored"), "not_applicable")
    assert result.suggestion.tolist() == ["", "", "", *["alpha"] * 3, "", "", ""]


def test_without_tables_the_reason_says_so(peptide: Callable[..., Peptides]) -> None:
    result = cablam(peptide(["ALA"] * 9).structure())
    assert set(result.summary.values()) == {None}
    assert set(result.reasons.values()) == {"reference_table_missing"}
    assert (result.suggestion == "alpha").sum() == 3
    assert set(cablam(peptide(["ALA"] * 3).structure()).reasons.values()) == {"not_applicable"}


def test_suggestions(peptide: Callable[..., Peptides]) -> None:
    for phi, psi, name in ((-63, -43, "alpha"), (-120, 130, "beta"), (-49, -26, "three_ten")):
        found = suggestions(measured(peptide(["ALA"] * 10, phi=phi, psi=psi).structure()))
        assert found.tolist() == ["", "", "", *[name] * 4, "", "", ""]
    kinked = peptide(["ALA"] * 12, psi=[-43] * 5 + [130] + [-43] * 6)
    assert "alpha" not in suggestions(measured(kinked.structure()))[4:7]


def test_heights_wrap_or_stay_at_the_edge() -> None:
    values = np.zeros((4, 4, 5))
    values[0, 0] = [1, 2, 3, 4, 5]
    edges = grid(values, (0.0, 50.0, False))
    points = np.array([[-135, -135, 5], [-135, -135, 0], [-135, -135, -20], [-135, -135, 49], [-135, -135, 90], [180, -135, 10]])
    np.testing.assert_allclose(edges.heights(points), [1, 1, 1, 5, 5, 0.5 * 1.5])
    around = grid(values, (-180.0, 180.0, True))
    np.testing.assert_allclose(around.heights(np.array([[225.0, 225.0, 180.0], [-135.0, 585.0, -180.0]])), [3.0, 3.0])


PARITY = {
    "5ly6/model.pdb": (20.985, 54.3897, 15.2034, 467),
    "5ly6/published_refined.pdb": (18.6296, 56.531, 16.2741, 467),
    "7cec_A/model.cif": (20.7619, 56.7619, 16.7619, 525),
    "hb_5ni1/model.cif": (12.1864, 45.8781, 6.0932, 558),
    "hcn4_6gyn/model.pdb": (13.2383, 42.1589, 8.3503, 1964),
    "tmv_6i5a/published_refined.pdb": (16.1074, 41.6107, 8.7248, 149),
}
"""Model -> outliers, disfavoured, Cα geometry outliers (%) and residues, from an independent program and `wavy` grids."""


@pytest.mark.shared
@pytest.mark.parametrize("model", PARITY)
def test_percentages_agree_with_an_independent_program_on_the_same_grids(shared: Path, model: str) -> None:
    result = cablam(read_structure(shared / "pairs" / model), wavy())
    assert (*result.summary.values(), result.details["cablam"]["residues"]) == pytest.approx(PARITY[model], abs=1e-3)


# -------------------------------------------------------------------------------------------------- loading


def published(grid: ContourGrid, *, value_first: bool = False) -> bytes:
    """Write a grid as the published files are written; cells of height 0 are left out."""
    lines = ['# Table name/description: "test"', f"# Number of dimensions: {grid.values.ndim}"]
    lines.append("# For each dimension, 1 to 3: lower_bound  upper_bound  number_of_bins  wrapping")
    axes = zip(grid.lower, grid.upper, grid.values.shape, grid.wraps, strict=True)
    lines += [f"#   x{k}: {a} {b} {n} {str(bool(w)).lower()}" for k, (a, b, n, w) in enumerate(axes, start=1)]
    place = "first" if value_first else "last"
    lines.append(f"# List of table coordinates and values. (Value is {place} number on each line.)")
    for cell in np.argwhere(grid.values > 0):
        centre = grid.lower + (cell + 0.5) * (grid.upper - grid.lower) / grid.values.shape
        row = [*map(repr, map(float, centre)), repr(float(grid.values[tuple(cell)]))]
        lines.append(" ".join(row[-1:] + row[:-1] if value_first else row))
    return "\n".join(lines).encode()


@pytest.mark.parametrize("value_first", [False, True])
def test_published_format_is_read(rng: np.random.Generator, value_first: bool) -> None:
    values = np.where(rng.random((6, 5, 4)) < 0.5, 0.0, rng.random((6, 5, 4)))
    original = grid(values, (60.0, 160.0, False))
    again = parse_grid(published(original, value_first=value_first))
    np.testing.assert_array_equal(again.values, original.values)
    assert (again.lower.tolist(), again.upper.tolist(), again.wraps.tolist()) == (
        [-180, -180, 60],
        [180, 180, 160],
        [True, True, False],
    )


@pytest.mark.parametrize(
    "damage", [b"", b"# nothing\n1 2 3 4\n", b"#   x1: 0 360 4 true\nabc def\n", b"#   x1: 0 0 4 true\n1 2 3\n"]
)
def test_damaged_table_is_refused(damage: bytes) -> None:
    with pytest.raises(InputError) as caught:
        parse_grid(damage)
    assert caught.value.code == "table_unreadable"


def test_blob_id_is_that_of_git() -> None:
    assert git_blob_id(b"hello\n") == "ce013625030ba8dba906f756967f9e9ca394464a"


def test_only_the_published_files_are_installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    contents = {name: published(flat({})[name]) for name in BLOB_IDS}
    with pytest.raises(InputError, match="isn't the published file") as caught:
        install(contents, tmp_path)
    assert caught.value.code == "table_not_recognised"
    assert not list(tmp_path.iterdir())
    contents.pop("gly")
    with pytest.raises(InputError, match="1 of the 8 files"):
        install(contents, tmp_path)
    contents = {name: published(flat({"gly": 0.25})[name]) for name in BLOB_IDS}
    monkeypatch.setattr("refinement.tables.cablam_files.BLOB_IDS", {name: git_blob_id(data) for name, data in contents.items()})
    assert expected_grids() is None
    assert install(contents).parent == tables_folder()
    grids = expected_grids()
    assert grids is not None
    assert float(grids["gly"].values.max()) == 0.25
    assert [path.name for path in tables_folder().iterdir()] == ["cablam_expected.npz"]


def test_installed_tables_are_used_and_damaged_ones_are_not(peptide: Callable[..., Peptides], tmp_path: Path) -> None:
    write_grids(flat({"general": 0.02}), tables_folder())
    assert cablam(peptide(["ALA"] * 9).structure()).summary == {
        "cablam_outliers": 0.0,
        "cablam_disfavored": 100.0,
        "ca_geometry_outliers": 0.0,
    }
    (tables_folder() / "cablam_expected.npz").write_bytes(b"PK damaged")
    assert expected_grids() is None


def test_tables_lie_in_the_users_data_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("CERES_TABLES")
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    assert tables_folder() == tmp_path / "ceres" / "tables"


@pytest.mark.shared
def test_names_and_ids_are_those_of_the_public_repository(shared: Path) -> None:
    from refinement.tables.cablam_files import repository_path

    rows = (shared / "reference" / "cablam" / "missing.csv").read_text(encoding="utf-8").split()[1:]
    assert {tuple(row.split(",")) for row in rows} == {(BLOB_IDS[name], repository_path(name)) for name in BLOB_IDS}
