"""Rules about maps, half-maps and contour levels, on facts made for them."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from curation.checks import first_refusal, run_checks
from curation.facts import Contour, FitFacts, Grid, HalfMapFacts, HeaderFacts, HeaderGrid, ModelFacts, PairFacts, VoxelFacts
from curation.findings import Code, Severity
from curation.identifiers import Pair

GRID = Grid("m.map", (10, 12, 14), (0, 0, 0), (0, 0, 0), (1.5, 1.5, 1.5), (15, 18, 21, 90, 90, 90), (0, 0, 0), (1, 2, 3), 1, 2)
LEVEL = Contour(0.5, primary=True, source="h.xml: AUTHOR")
HEADER = HeaderFacts(
    source="h.xml", emdb_id="EMD-0042", title="", status="REL", dates={}, methods=(), resolutions=(), resolution_methods=(),
    pdb_ids=("9zaa",), related_maps=(), symmetry=(), map_file=None, grid=HeaderGrid(None, None, None, None, None, None),
    statistics={}, contour=0.5, half_map_files=(), additional_map_files=(), mask_files=(), contours=(LEVEL,),
)  # fmt: skip
MODEL = ModelFacts(
    source="9zaa.cif.gz", entry_id="9ZAA", title="", methods=(), dates={}, resolutions=(), associated_maps=("EMD-0042",),
    related_maps=(), cell=(15, 18, 21, 90, 90, 90), space_group="P 1", models=1, status="REL",
)  # fmt: skip
FIT = FitFacts(correlation=0.6, scale=1.0, scaled=0.6, step=0.02, mirror="x", mirrored=0.1)
VOXELS = VoxelFacts(-1.0, 2.0, 0.0, 0.3, 0.4, fit=FIT)
GOOD = PairFacts(Pair("EMD-0042", "9zaa"), HEADER, MODEL, None, GRID, (GRID, replace(GRID, file="h2.map")), 1.0, voxels=VOXELS)
HALVES = HalfMapFacts(identical=False, full=None, between=0.4, with_primary=(0.7, 0.7))


def voxels(**parts: Any) -> PairFacts:
    return replace(GOOD, voxels=replace(VOXELS, **parts))


def fit(**parts: Any) -> PairFacts:
    return voxels(fit=replace(FIT, **parts))


def header(**parts: Any) -> PairFacts:
    return replace(GOOD, header=replace(HEADER, **parts))


def model(**parts: Any) -> PairFacts:
    return replace(GOOD, model=replace(MODEL, **parts))


def codes(facts: PairFacts, *, strict: bool = False) -> list[tuple[str, str]]:
    """Return the findings, those about the absent resolution left out."""
    found = run_checks(facts, strict=strict)
    return [(finding.code, finding.severity) for finding in found if finding.code != Code.RESOLUTION_MISMATCH]


@pytest.mark.parametrize(
    ("facts", "code", "severity"),
    [
        (header(contour=None, contours=()), Code.CONTOUR_ABSENT, Severity.NOTE),
        (header(contours=(LEVEL, replace(LEVEL, level=0.7))), Code.CONTOUR_AMBIGUOUS, Severity.WARN),
        (header(contour=2.5), Code.CONTOUR_OUTSIDE_RANGE, Severity.WARN),
        (header(contour=-1.0), Code.CONTOUR_OUTSIDE_RANGE, Severity.WARN),
        (voxels(half_maps=replace(HALVES, identical=True, between=1.0)), Code.HALF_MAPS_IDENTICAL, Severity.WARN),
        (voxels(half_maps=replace(HALVES, full="h2.map")), Code.HALF_MAPS_SWAPPED, Severity.WARN),
        (fit(correlation=0.1, mirrored=0.5), Code.HAND_SUSPECTED, Severity.WARN),
        (fit(correlation=0.3, scale=1.03, scaled=0.55), Code.SCALE_SUSPECTED, Severity.WARN),
        (fit(correlation=-0.1, scale=0.97, scaled=0.55), Code.SCALE_SUSPECTED, Severity.WARN),
        (fit(correlation=-0.5, scaled=-0.4), Code.CONTRAST_SUSPECTED, Severity.WARN),
        (fit(correlation=0.05, scaled=0.1), Code.MODEL_OFF_DENSITY, Severity.WARN),
        (voxels(commonest=0.9), Code.MAP_MASKED, Severity.NOTE),
        (header(remarks=("Composite map of three focused refinements",)), Code.MAP_COMPOSITE, Severity.NOTE),
        (header(remarks=("Locally refined map of the head",)), Code.MAP_COMPOSITE, Severity.NOTE),
        (model(related_kinds=("consensus em volume",)), Code.MAP_COMPOSITE, Severity.NOTE),
        (header(software=("DeepEMhancer",)), Code.MAP_DENOISED, Severity.NOTE),
        (header(remarks=("The map was denoised",)), Code.MAP_DENOISED, Severity.NOTE),
        (header(remarks=("Denoised and sharpened map",)), Code.MAP_DENOISED, Severity.NOTE),
        (model(software=("EMReady",)), Code.MAP_DENOISED, Severity.NOTE),
        (header(status="OBS"), Code.ENTRY_OBSOLETE, Severity.REFUSE),
        (header(replaced_by=("EMD-0043",)), Code.ENTRY_OBSOLETE, Severity.REFUSE),
        (model(replaced_by=("9zab",)), Code.ENTRY_OBSOLETE, Severity.REFUSE),
        (model(replaced_by=("",)), Code.ENTRY_OBSOLETE, Severity.REFUSE),
        (model(status="WDRN"), Code.ENTRY_OBSOLETE, Severity.REFUSE),
    ],
    ids=range(24),
)
def test_rule_remarks(facts: PairFacts, code: Code, severity: Severity) -> None:
    assert codes(facts) == [(code, severity)]
    assert codes(facts, strict=True) == [(code, severity)]


@pytest.mark.parametrize(
    "facts",
    [
        GOOD,
        replace(GOOD, voxels=None),
        header(contours=(LEVEL, LEVEL)),
        header(contours=(LEVEL, replace(LEVEL, level=9, primary=False))),
        header(status="HPUB"),
        header(remarks=("Micrographs were denoised with Topaz", "Denoised micrographs were picked")),
        header(remarks=("Focused on the biology",), software=("RELION", "cryoSPARC")),
        voxels(half_maps=HALVES),
        voxels(fit=None),
        fit(correlation=0.52, scale=1.03, scaled=0.55),
        fit(correlation=0.3, scale=1.01, scaled=0.55),
        fit(correlation=0.12, mirrored=0.29),
        model(related_kinds=("other em volume",)),
    ],
    ids=range(13),
)
def test_rule_is_silent(facts: PairFacts) -> None:
    assert codes(facts) == []


def test_sentences_say_numbers_and_sources() -> None:
    finding = next(f for f in run_checks(fit(correlation=0.3, scale=1.03, scaled=0.55)) if f.code is Code.SCALE_SUSPECTED)
    assert "3.0 % larger" in finding.sentence
    assert finding.numbers == {"scale": 1.03, "correlation_rescaled": 0.55, "correlation": 0.3}
    refusal = first_refusal(run_checks(replace(header(replaced_by=("EMD-0043",)), model=replace(MODEL, status="OBS"))))
    assert refusal is not None
    assert refusal.sentence == "Not a current entry: EMD-0042 was replaced by EMD-0043 (h.xml); 9zaa was withdrawn (9zaa.cif.gz)."
    assert refusal.numbers == {"replaced_by": ["EMD-0043"]}
    ambiguous = run_checks(header(contours=(LEVEL, replace(LEVEL, level=0.7, source="h.xml: EMDB"))))[-1]
    assert "0.5 (h.xml: AUTHOR), 0.7 (h.xml: EMDB)" in ambiguous.sentence


def test_what_the_voxels_rule_out_is_not_used() -> None:
    assert GOOD.contour == 0.5
    assert header(contour=2.5).contour is None
    assert replace(GOOD, header=None).contour is None
    assert GOOD.half_maps_usable
    assert not voxels(half_maps=replace(HALVES, identical=True)).half_maps_usable
    assert not replace(GOOD, half_maps=(GRID,)).half_maps_usable
