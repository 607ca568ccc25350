"""EMDB headers, also those that mean harm."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from curation.emdb_header import MAX_HEADER_BYTES, HeaderError, parse_header, read_header

if TYPE_CHECKING:
    from pathlib import Path

EXAMPLE = """<?xml version="1.0" encoding="UTF-8"?>
<emd emdb_id="EMD-0042" version="3.0.11.3">
 <admin><current_status><code>REL</code></current_status>
  <key_dates><deposition>2020-01-01</deposition><map_release>2020-02-01</map_release></key_dates>
  <title>A  title
   in two lines</title></admin>
 <crossreferences>
  <emdb_list><emdb_reference><emdb_id>EMD-0007</emdb_id></emdb_reference></emdb_list>
  <pdb_list><pdb_reference><pdb_id>9ZAA</pdb_id></pdb_reference><pdb_reference><pdb_id>pdb_00009zab</pdb_id></pdb_reference>
   <pdb_reference><pdb_id>nonsense</pdb_id></pdb_reference></pdb_list></crossreferences>
 <structure_determination_list><structure_determination>
  <method>helical</method>
  <helical_processing><final_reconstruction>
   <applied_symmetry><helical_parameters><delta_phi>22.03</delta_phi><delta_z>1.41</delta_z></helical_parameters></applied_symmetry>
   <resolution units="\u212b" res_type="BY AUTHOR">3.2</resolution><resolution_method>FSC 0.143 CUT-OFF</resolution_method>
  </final_reconstruction></helical_processing>
  <helical_processing><final_reconstruction><resolution units="Å">3.4</resolution></final_reconstruction></helical_processing>
  <helical_processing><final_reconstruction><resolution>better than 4</resolution></final_reconstruction></helical_processing>
  <helical_processing><final_reconstruction><resolution units="nm">0.32</resolution></final_reconstruction></helical_processing>
 </structure_determination></structure_determination_list>
 <map><file>emd_0042.map.gz</file>
  <dimensions><col>10</col><row>20</row><sec>30</sec></dimensions>
  <spacing><x>30</x><y>20</y><z>10</z></spacing>
  <cell><a>30</a><b>20</b><c>10</c><alpha>90</alpha><beta>90</beta><gamma>90</gamma></cell>
  <axis_order><fast>Z</fast><medium>Y</medium><slow>X</slow></axis_order>
  <statistics><minimum>-1</minimum><maximum>NaN</maximum></statistics>
  <contour_list><contour><level>0.1</level></contour></contour_list></map>
 <interpretation>
  <half_map_list><half_map><file>emd_0042_half_map_1.map.gz</file></half_map>
   <half_map><file>../../../etc/passwd</file></half_map></half_map_list>
  <segmentation_list><segmentation><file>emd_0042_msk_1.map</file></segmentation></segmentation_list></interpretation>
</emd>"""


def test_values_that_are_used() -> None:
    facts = parse_header(EXAMPLE.encode(), "emd-0042.xml")
    assert (facts.emdb_id, facts.title, facts.status) == ("EMD-0042", "A title in two lines", "REL")
    assert facts.dates == {"deposition": "2020-01-01", "map_release": "2020-02-01"}
    assert facts.methods == ("helical",)
    assert [(r.value, r.source) for r in facts.resolutions] == [
        (3.2, "emd-0042.xml: helical_processing"),
        (3.4, "emd-0042.xml: helical_processing (2)"),
    ]
    assert facts.resolution_methods == ("FSC 0.143 CUT-OFF",)
    assert facts.pdb_ids == ("9zaa", "9zab")
    assert facts.related_maps == ("EMD-0007",)
    assert facts.symmetry == ("helix delta_phi 22.03, delta_z 1.41",)
    assert (facts.grid.stored, facts.grid.dims, facts.grid.sampling) == ((10, 20, 30), (30, 20, 10), (30, 20, 10))
    assert facts.grid.voxel is None
    assert facts.contour == 0.1
    assert facts.statistics == {"minimum": -1.0}
    assert facts.map_file == "emd_0042.map.gz"
    assert facts.half_map_files == ("emd_0042_half_map_1.map.gz",)
    assert facts.mask_files == ("emd_0042_msk_1.map",)


def test_what_makes_no_sense_is_listed() -> None:
    skipped = "\n".join(parse_header(EXAMPLE.encode(), "h").skipped)
    for part in ("nonsense", "better than 4", "0.32 nm", "'NaN'", "../../../etc/passwd"):
        assert part in skipped


def test_primary_contour_goes_first() -> None:
    text = EXAMPLE.replace(
        "<contour>",
        "<contour primary='true'><level>x</level></contour><contour primary='TRUE'><level>7</level></contour><contour>",
    )
    assert parse_header(text.encode(), "h").contour == 7.0


def test_silent_header() -> None:
    facts = parse_header(b"<emd emdb_id='EMD-0042'/>", "h")
    assert (facts.resolutions, facts.pdb_ids, facts.grid.cell, facts.map_file, facts.contour) == ((), (), None, None, None)
    assert facts.skipped == ()


BOMB = '<!DOCTYPE emd [<!ENTITY a "lol">' + "".join(
    f'<!ENTITY {chr(98 + i)} "{f"&{chr(97 + i)};" * 10}">' for i in range(9)
) + "]><emd><admin><title>&j;</title></admin></emd>"  # fmt: skip


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (BOMB.encode(), "header_forbidden"),
        (b'<!DOCTYPE emd SYSTEM "http://127.0.0.1:9/x.dtd"><emd/>', "header_forbidden"),
        (
            b'<!DOCTYPE emd [<!ENTITY x SYSTEM "file:///etc/passwd">]><emd><admin><title>&x;</title></admin></emd>',
            "header_forbidden",
        ),
        (b"<!DOCTYPE emd><emd/>", "header_forbidden"),
        (EXAMPLE.encode()[:700], "header_unreadable"),
        (b"", "header_unreadable"),
        (b"\x1f\x8b\x08\x00garbage", "header_unreadable"),
        (EXAMPLE.encode("latin-1", "replace").replace(b"\xc5", b"\xc5\xff"), "header_unreadable"),
        (b"<?xml version='1.0' encoding='no-such-code'?><emd/>", "header_unreadable"),
        (b"<emdEntries accessCode='1234'/>", "header_unreadable"),
        (b"<html><body>404</body></html>", "header_unreadable"),
        (b"<emd>" + b" " * MAX_HEADER_BYTES + b"</emd>", "header_too_large"),
    ],
    ids=range(12),
)
def test_hostile_header_is_refused(data: bytes, code: str) -> None:
    with pytest.raises(HeaderError, match=r"emd-0042\.xml") as fault:
        parse_header(data, "emd-0042.xml")
    assert fault.value.code == code


def test_other_encodings_are_read() -> None:
    text = EXAMPLE.replace("UTF-8", "UTF-16")
    assert parse_header(text.encode("utf-16"), "h").resolutions[0].value == 3.2


def test_deep_nesting_is_survived() -> None:
    deep = b"<emd>" + b"<a>" * 200_000 + b"text" + b"</a>" * 200_000 + b"<admin><title>A map</title></admin></emd>"
    facts = parse_header(deep, "h")
    assert (facts.resolutions, facts.title) == ((), "A map")


def test_missing_file(tmp_path: Path) -> None:
    with pytest.raises(HeaderError, match="does not exist"):
        read_header(tmp_path / "emd-0042.xml")


@given(st.binary(max_size=300))
def test_any_bytes_are_read_or_refused(data: bytes) -> None:
    with pytest.raises(HeaderError):
        parse_header(data, "h")


@given(st.data())
def test_any_damage_is_read_or_refused(data: Any) -> None:
    whole = EXAMPLE.encode()
    place = data.draw(st.integers(0, len(whole)))
    damaged = whole[:place] + data.draw(st.binary(max_size=8)) + whole[place + data.draw(st.integers(0, 30)) :]
    try:
        facts = parse_header(damaged, "h")
    except HeaderError:
        return
    assert all(resolution.value > 0 for resolution in facts.resolutions)
    assert all(re.fullmatch(r"[\w.-]+", name) for name in facts.half_map_files)


@given(st.text(alphabet="0123456789.eE+-naifx ", max_size=12))
def test_any_number_is_finite_or_skipped(text: str) -> None:
    facts = parse_header(EXAMPLE.replace(">3.2<", f">{text}<").encode(), "h")
    assert all(0 < resolution.value < float("inf") for resolution in facts.resolutions)
