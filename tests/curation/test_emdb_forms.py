"""The EMDB header as JSON and in schema 1.9 says the same as in schema 3."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from curation.archive import Archive, header_path
from curation.checks import run_checks
from curation.curate import curate
from curation.emdb_header import HeaderError, parse_header
from curation.facts import HeaderFacts, PairFacts
from curation.identifiers import Pair, parse_pair

if TYPE_CHECKING:
    from pathlib import Path

VERSION_3 = """<emd emdb_id="EMD-0042" version="3.0.11.3">
  <admin><current_status><code>REL</code></current_status>
    <key_dates><deposition>2019-01-02</deposition><map_release>2020-03-04</map_release></key_dates><title>A map</title>
    <superseded_by_list><entry><id>EMD-0043</id></entry></superseded_by_list></admin>
  <crossreferences><pdb_list><pdb_reference><pdb_id>9zaa</pdb_id></pdb_reference>
    <pdb_reference><pdb_id>pdb_00009zab</pdb_id></pdb_reference></pdb_list></crossreferences>
  <structure_determination_list><structure_determination><method>helical</method>
    <helical_processing><final_reconstruction><software_list><software><name>RELION</name></software></software_list>
      <applied_symmetry><point_group>C2</point_group></applied_symmetry><resolution>3.4</resolution>
      <resolution_method>FSC 0.143 CUT-OFF</resolution_method></final_reconstruction></helical_processing>
  </structure_determination></structure_determination_list>
  <map><file>emd_0042.map.gz</file><symmetry><space_group>1</space_group></symmetry>
    <dimensions><col>24</col><row>20</row><sec>28</sec></dimensions>
    <spacing><x>24</x><y>20</y><z>28</z></spacing>
    <cell><a>36</a><b>30</b><c>42</c><alpha>90</alpha><beta>90</beta><gamma>90</gamma></cell>
    <axis_order><fast>X</fast><medium>Y</medium><slow>Z</slow></axis_order>
    <statistics><minimum>-1.5</minimum><maximum>2</maximum><average>0.01</average><std>0.2</std></statistics>
    <pixel_spacing><x>1.5</x><y>1.5</y><z>1.5</z></pixel_spacing>
    <contour_list><contour primary="true"><level>0.5</level><source>AUTHOR</source></contour></contour_list></map>
  <interpretation><segmentation_list><segmentation><file>emd_0042_msk_1.map</file></segmentation></segmentation_list>
  </interpretation></emd>"""
VERSION_1 = """<emdEntry accessCode="0042" version="1.9.6">
  <deposition><status>REL</status><depositionDate>2019-01-02</depositionDate><mapReleaseDate>2020-03-04</mapReleaseDate>
    <title>A map</title><supersededByList><entry>EMD-0043</entry></supersededByList>
    <fittedPDBEntryIdList><fittedPDBEntryId>9zaa</fittedPDBEntryId><fittedPDBEntryId>9zab</fittedPDBEntryId>
    </fittedPDBEntryIdList></deposition>
  <map><file format="CCP4" sizeKb="53" type="map">emd_0042.map.gz</file>
    <dimensions><numColumns>24</numColumns><numRows>20</numRows><numSections>28</numSections></dimensions>
    <spacing><spacingCol>24</spacingCol><spacingRow>20</spacingRow><spacingSec>28</spacingSec></spacing>
    <cell><cellA units="A">36</cellA><cellB units="A">30</cellB><cellC units="A">42</cellC>
      <cellAlpha units="degrees">90</cellAlpha><cellBeta>90</cellBeta><cellGamma>90</cellGamma></cell>
    <axisOrder><axisOrderFast>X</axisOrderFast><axisOrderMedium>Y</axisOrderMedium><axisOrderSlow>Z</axisOrderSlow></axisOrder>
    <statistics><minimum>-1.5</minimum><maximum>2</maximum><average>0.01</average><std>0.2</std></statistics>
    <spaceGroupNumber>1</spaceGroupNumber>
    <pixelSpacing><pixelX units="A">1.5</pixelX><pixelY units="A">1.5</pixelY><pixelZ units="A">1.5</pixelZ></pixelSpacing>
    <contourLevel source="author">0.5</contourLevel></map>
  <supplement><maskSet><mask>emd_0042_msk_1.map</mask></maskSet></supplement>
  <processing><method>helical</method>
    <reconstruction><software>RELION</software><resolutionByAuthor>3.4</resolutionByAuthor>
      <resolutionMethod>FSC 0.143 CUT-OFF</resolutionMethod></reconstruction>
    <helical><appliedSymmetry>C2</appliedSymmetry></helical></processing></emdEntry>"""
AS_JSON: dict[str, Any] = {
    "emdb_id": "EMD-0042",
    "version": "3.0.11.3",
    "admin": {
        "current_status": {"code": {"valueOf_": "REL"}},
        "key_dates": {"deposition": "2019-01-02", "map_release": "2020-03-04"},
        "title": "A map",
        "superseded_by_list": {"entry": [{"id": "EMD-0043"}]},
    },
    "crossreferences": {"pdb_list": {"pdb_reference": [{"pdb_id": "9zaa"}, {"pdb_id": "9zab"}]}},
    "structure_determination_list": {
        "structure_determination": [
            {
                "method": "helical",
                "image_processing": [
                    {
                        "final_reconstruction": {
                            "software_list": {"software": [{"name": "RELION", "version": None}]},
                            "applied_symmetry": {"point_group": "C2"},
                            "resolution": {"valueOf_": "3.4", "units": "Å", "res_type": "BY AUTHOR"},
                            "resolution_method": "FSC 0.143 CUT-OFF",
                        }
                    }
                ],
            }
        ]
    },
    "map": {
        "file": "emd_0042.map.gz",
        "symmetry": {"space_group": 1},
        "dimensions": {"col": 24, "row": 20, "sec": 28},
        "spacing": {"x": 24, "y": 20, "z": 28},
        "cell": {
            **{key: {"units": "Å", "valueOf_": value} for key, value in (("a", 36), ("b", 30.0), ("c", 42))},
            **{key: {"units": "deg", "valueOf_": 90} for key in ("alpha", "beta", "gamma")},
        },
        "axis_order": {"fast": "X", "medium": "Y", "slow": "Z"},
        "statistics": {"minimum": -1.5, "maximum": 2.0, "average": 0.01, "std": 0.2},
        "pixel_spacing": {key: {"units": "Å", "valueOf_": "1.5"} for key in "xyz"},
        "contour_list": {"contour": [{"primary": True, "level": 0.5, "source": "AUTHOR"}]},
    },
    "interpretation": {"segmentation_list": {"segmentation": [{"file": "emd_0042_msk_1.map"}]}},
}


def read(text: str | dict[str, Any]) -> HeaderFacts:
    data = text if isinstance(text, str) else json.dumps(text)
    return parse_header(data.encode(), "emd-0042.xml")


def test_all_forms_say_the_same() -> None:
    facts = read(VERSION_3)
    assert (facts.status, facts.methods, facts.pdb_ids) == ("REL", ("helical",), ("9zaa", "9zab"))
    assert (facts.replaced_by, facts.software, facts.symmetry) == (("EMD-0043",), ("RELION",), ("C2",))
    assert facts.contours[0].source == "emd-0042.xml: AUTHOR"
    assert facts.resolutions[0].value == 3.4
    assert facts.skipped == ()
    assert read(VERSION_1) == facts
    assert read(AS_JSON) == facts


@pytest.mark.parametrize(
    ("method", "source"),
    [("singleParticle", "singleparticle"), ("subtomogramAveraging", "subtomogram_averaging"), ("odd", "singleparticle")],
)
def test_json_processing_follows_the_method(method: str, source: str) -> None:
    changed = json.loads(json.dumps(AS_JSON).replace('"helical"', json.dumps(method)))
    assert read(changed).resolutions[0].source == f"emd-0042.xml: {source}_processing"


@pytest.mark.parametrize(
    "data",
    [
        b"{",
        b"{}",
        b'{"map": ',
        b'{"a": 1}',
        b'{"emdb_id": ' + b"[" * 100_000,
        b'{"map":' * 60 + b"{}" + b"}" * 60,
        b'{"emdb_id": "\xff',
        b"<emdEntry",
        b"<emdEntries/>",
    ],
)
def test_damaged_forms_have_a_type(data: bytes) -> None:
    with pytest.raises(HeaderError):
        parse_header(data, "x.json")


NAMES = st.sampled_from(
    ["emdb_id", "admin", "map", "valueOf_", "contour_list", "contour", "level", "primary", "cell", "a", "b", "c", "dimensions",
     "col", "row", "sec", "structure_determination_list", "structure_determination", "method", "image_processing",
     "final_reconstruction", "resolution", "applied_symmetry", "crossreferences", "pdb_list", "pdb_reference", "pdb_id"]
)  # fmt: skip
VALUES = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20) | st.sampled_from(["helical", "9zaa"])
CONTENTS = st.recursive(VALUES, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=5))


@given(st.dictionaries(NAMES, CONTENTS))
def test_any_json_is_read_or_refused(content: dict[str, Any]) -> None:
    try:
        facts = read(content)
    except HeaderError:
        return
    assert all(resolution.value > 0 for resolution in facts.resolutions)
    assert run_checks(PairFacts(Pair("EMD-0042", "9zaa"), facts))


@given(st.binary(max_size=300))
def test_changed_header_of_schema_1_is_read_or_refused(noise: bytes) -> None:
    data = VERSION_1.encode()
    place = sum(noise) * 7 % len(data)
    try:
        facts = parse_header(data[:place] + noise + data[place + len(noise) :], "x.xml")
    except HeaderError:
        return
    assert facts.source == "x.xml"


@pytest.mark.parametrize("data", [b"<emdEntry/>", b'{"emdb_id": null}', b'{"map": 7, "admin": [[1], {"title": []}]}'])
def test_missing_elements_are_unknown(data: bytes) -> None:
    facts = parse_header(data, "x")
    assert (facts.resolutions, facts.contour, facts.pdb_ids) == ((), None, ())
    assert [finding.code for finding in run_checks(PairFacts(Pair("EMD-0042", "9zaa"), facts))] == ["RESOLUTION_MISMATCH"]


def test_permuted_axes_of_schema_1_leave_the_sampling_open() -> None:
    turned = VERSION_1.replace("Fast>X", "Fast>Z").replace("Slow>Z", "Slow>X")
    grid = read(turned).grid
    assert (grid.sampling, grid.dims, grid.stored) == (None, (28, 20, 24), (24, 20, 28))


def test_icosahedral_and_crystals_of_schema_1() -> None:
    for method, expected in (("icosahedral", "singleParticle"), ("twoDCrystal", "electronCrystallography")):
        facts = read(VERSION_1.replace("helical", method))
        assert facts.methods == (expected,)
        assert facts.resolutions[0].value == 3.4


def test_pair_with_a_header_in_another_form(tiny: Any, tmp_path: Path) -> None:
    key = tiny.add("9zaa", "0042", map_resolutions=(3.4,), model_resolution=3.4)
    path = Archive(tiny.root).fetch(header_path("EMD-0042"))
    for text in (VERSION_1, json.dumps(AS_JSON)):
        path.write_text(text.replace("supersededByList", "nobody").replace("superseded_by_list", "nobody"), encoding="utf-8")
        result = curate(parse_pair(key), Archive(tiny.root), tmp_path / "work")
        assert (result.code, result.resolution, result.contour) == ("", 3.4, 0.5)


def test_several_contours_and_long_numbers() -> None:
    several = '<contour primary="true"><level>0.7</level></contour><contour><level>9</level></contour></contour_list>'
    facts = read(VERSION_3.replace("</contour_list>", several))
    assert (facts.contour, [contour.level for contour in facts.contours if contour.primary]) == (0.5, [0.5, 0.7])
    assert "CONTOUR_AMBIGUOUS" in [finding.code for finding in run_checks(PairFacts(Pair("EMD-0042", "9zaa"), facts))]
    huge = read(VERSION_3.replace("<a>36</a>", f"<a>{'9' * 5000}</a>").replace("<col>24</col>", "<col>1e400</col>"))
    assert (huge.grid.cell, huge.grid.stored, len(huge.skipped)) == (None, None, 2)
