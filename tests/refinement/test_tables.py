from __future__ import annotations

import hashlib
import importlib.util
import re
import time
from pathlib import Path

import numpy as np
import pytest

from refinement import tables

ROOT = Path(__file__).resolve().parents[2]
BUILT = re.compile(r"^## (\S+)\n(?:.*\n)*?\* built: (\d+) bytes, sha256 `([0-9a-f]{64})`", re.MULTILINE)


def provenance(folder: Path) -> dict[str, tuple[int, str]]:
    text = (folder / "PROVENANCE.md").read_text(encoding="utf-8")
    return {name: (int(size), digest) for name, size, digest in BUILT.findall(text)}


def test_every_file_is_the_one_that_provenance_describes() -> None:
    described = provenance(tables.FOLDER)
    present = {p.name for p in tables.FOLDER.iterdir() if p.suffix in {".npz", ".csv", ".gz"}}
    assert present == set(described)
    for name, (size, digest) in described.items():
        data = (tables.FOLDER / name).read_bytes()
        assert (len(data), hashlib.sha256(data).hexdigest()) == (size, digest), name


def test_provenance_names_origin_licence_and_citation() -> None:
    sections = (tables.FOLDER / "PROVENANCE.md").read_text(encoding="utf-8").split("\n## ")[1:]
    assert len(sections) > 20
    for section in sections:
        for item in ("* origin: ", "* licence: ", "* cite: ", "* sources: "):
            assert re.search(re.escape(item) + r"\S", section), section


def test_tables_are_small() -> None:
    assert sum(p.stat().st_size for p in tables.FOLDER.iterdir() if p.is_file()) < 6_000_000


@pytest.mark.shared
def test_rebuilding_gives_the_same_files(shared: Path, tmp_path: Path) -> None:
    spec = importlib.util.spec_from_file_location("build_tables", ROOT / "tools" / "build_tables.py")
    assert spec is not None
    assert spec.loader is not None
    builder = importlib.util.module_from_spec(spec)
    import sys

    sys.modules["build_tables"] = builder
    spec.loader.exec_module(builder)
    builder.build_all(shared / "reference", tmp_path)
    assert provenance(tmp_path) == provenance(tables.FOLDER)


def test_ramachandran_grids() -> None:
    grids = tables.ramachandran()
    assert grids.shape == (6, 180, 180)
    assert grids.dtype == np.float32
    assert ((grids >= 0) & (grids <= 1)).all()
    # glycine has the largest favoured part of the plane, proline the smallest
    order = [tables.RAMACHANDRAN_CLASSES[k] for k in np.argsort((grids >= 0.02).mean(axis=(1, 2)))]
    assert set(order[:2]) == {"transpro", "cispro"}
    assert order[-1] == "gly-sym"


def test_rotamer_grids_have_an_axis_per_angle_and_load_fast() -> None:
    for cached in (tables.rotamer_grid, tables._array):
        cached.cache_clear()
    start = time.perf_counter()
    for compound, table in tables.ROTAMER_TABLES.items():
        grid = tables.rotamer_grid(table)
        if compound != "PRO":
            assert grid.values.ndim == len(tables.chi_atoms()[compound])
        spans = grid.width * grid.values.shape
        np.testing.assert_allclose(spans, tables.chi_periods()[compound][: grid.values.ndim])
        assert grid.values.max() <= 1
    assert time.perf_counter() - start < 1.0


def test_tables_cannot_be_changed() -> None:
    with pytest.raises(ValueError, match="read-only"):
        tables.ramachandran()[0, 0, 0] = 1.0
    with pytest.raises(ValueError, match="read-only"):
        tables.rotamer_grid("val").values[0] = 1.0


def test_rotamer_centres_lie_in_bins_of_their_name() -> None:
    for compound, centres in tables.rotamer_centres().items():
        bins = tables.rotamer_bins()[compound]
        assert set(bins.names) >= {name for name, f in zip(centres.names, centres.frequency, strict=True) if f > 5}
        assert bins.lower.shape == bins.upper.shape == (len(bins.names), centres.chi.shape[1])


def test_conformation_dependent_library() -> None:
    library = tables.conformation_dependent()
    assert library.targets.shape == library.esds.shape == (8, 36, 36, 12)
    defined = ~np.isnan(library.targets)
    no_cb = [k for k, name in enumerate(library.quantities) if "CB" in name]
    for k, name in enumerate(library.classes):
        assert defined[k][..., no_cb].any() != name.startswith("Gly")
        assert np.delete(defined[k], no_cb, axis=-1).all()
    assert (library.esds[defined] > 0).all()
    helix = library.targets[library.classes.index("NonPGIV_nonxpro"), (-60 + 180) // 10, (-40 + 180) // 10]
    assert helix[library.quantities.index("N-CA-C")] == pytest.approx(111.0, abs=1.5)
    assert np.nanmean(library.omega[..., 0]) == pytest.approx(179, abs=2)


def test_geometry_targets_are_found_from_both_ends() -> None:
    bonds, angles = tables.geometry_bonds(), tables.geometry_angles()
    assert bonds["ALA", "N", "CA"] == bonds["ALA", "CA", "N"] == (1.458, 0.019)
    assert angles["ALA", "N", "CA", "C"] == angles["ALA", "C", "CA", "N"] == (111.2, 2.8)
    assert bonds["link SS", "1:SG", "2:SG"] == (2.031, 0.02)


def test_rama_z_counts() -> None:
    table = tables.rama_z()
    assert table.counts.shape == (3, len(table.residue_types), 90, 90)
    assert set(table.calibration) == {"H", "S", "L", "W"}
    assert table.counts[2, table.residue_types.index("cisPRO")].sum() > 1000


def test_archive_quality_is_sorted_and_falls_with_resolution() -> None:
    archive = tables.archive_quality()
    assert (np.diff(archive.resolution) >= 0).all()
    medians = [np.nanmedian(archive.q_score[np.abs(archive.resolution - d) < 0.05]) for d in (2, 3, 4, 5)]
    np.testing.assert_allclose(medians, [0.68, 0.505, 0.353, 0.214], atol=0.02)


def test_radii_and_motif_grids() -> None:
    assert tables.mask_radii()["C"] == 1.775
    assert tables.cablam("motif.loose_alpha").shape == (120, 120)
    assert {row["quantity"] for row in tables.rows("rna_pucker")} >= {"p_distance_limit", "delta_c3_endo_min"}
