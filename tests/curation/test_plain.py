"""Facts and findings hold nothing that JSON or a database refuses."""

from __future__ import annotations

import json
import math

from hypothesis import given
from hypothesis import strategies as st

from curation.findings import Code, warn
from curation.plain import plain

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters()),
    lambda inner: st.lists(inner) | st.tuples(inner) | st.dictionaries(st.text(), inner),
)


@given(VALUES)
def test_anything_becomes_json(value: object) -> None:
    row = plain(value)
    text = json.dumps(row, allow_nan=False, ensure_ascii=False)
    assert json.loads(text.encode()) == row
    assert "\\u0000" not in text


def test_only_what_is_not_finite_is_lost() -> None:
    assert plain({"a": (1, 2.5, math.inf), "b": [math.nan, "x", True]}) == {"a": [1, 2.5, None], "b": [None, "x", True]}
    assert plain("title\x00 \ud800 é") == "title\ufffd ? é"
    finding = warn(Code.BOX_MISMATCH, "A sentence.", {"voxel": [math.nan, 1.5]})
    assert finding.as_dict()["numbers"] == {"voxel": [None, 1.5]}
