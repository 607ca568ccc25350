from __future__ import annotations

import gzip
import struct
from typing import TYPE_CHECKING

import gemmi
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from refinement.errors import MapError
from refinement.maps.density import Density, read_map, read_map_header, write_map
from refinement.maps.header import HEADER_BYTES, MODES

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

DIMS = (5, 6, 7)
ORDERS = [(1, 2, 3), (1, 3, 2), (2, 1, 3), (2, 3, 1), (3, 1, 2), (3, 2, 1)]


def integers(dims: tuple[int, int, int] = DIMS) -> NDArray[np.float32]:
    """Whole numbers, so that every voxel type holds them."""
    return np.random.default_rng(7).integers(0, 100, dims).astype(np.float32)


def encode(
    values: NDArray[np.float32],
    *,
    mode: int = 2,
    axes: tuple[int, int, int] = (1, 2, 3),
    order: str = "<",
    start: tuple[int, int, int] = (0, 0, 0),
    origin: tuple[float, float, float] = (0.0, 0.0, 0.0),
    m: tuple[int, int, int] = (10, 12, 14),
    cell: tuple[float, ...] = (11.0, 14.4, 18.2, 90.0, 90.0, 90.0),
    extended: bytes = b"",
    stamp: bytes | None = None,
) -> bytes:
    """Write a map independently of the code under test; `start` is in x, y, z order."""
    columns_first = values.transpose([a - 1 for a in axes])
    n = columns_first.shape
    raw = bytearray(HEADER_BYTES)
    struct.pack_into(f"{order}10i", raw, 0, *n, mode, *(start[a - 1] for a in axes), *m)
    struct.pack_into(f"{order}6f", raw, 40, *cell)
    struct.pack_into(f"{order}3i", raw, 64, *axes)
    struct.pack_into(f"{order}ii", raw, 88, 1, len(extended))
    struct.pack_into(f"{order}3f", raw, 196, *origin)
    raw[208:216] = b"MAP " + (stamp or (b"\x44\x44\x00\x00" if order == "<" else b"\x11\x11\x00\x00"))
    voxels = columns_first.T.astype(np.dtype(order + MODES.get(mode, "f4")))
    return bytes(raw) + extended + voxels.tobytes()


def code_of(path: Path) -> str:
    with pytest.raises(MapError) as caught:
        read_map(path)
    assert caught.value.message
    assert caught.value.hint
    assert path.name in caught.value.message
    return caught.value.code


def patched(offset: int, fmt: str, *what: float) -> bytes:
    raw = bytearray(encode(integers()))
    struct.pack_into(fmt, raw, offset, *what)
    return bytes(raw)


@pytest.mark.parametrize("axes", ORDERS)
@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("mode", sorted(MODES))
def test_every_voxel_type_axis_order_and_byte_order(tmp_path: Path, mode: int, order: str, axes: tuple[int, int, int]) -> None:
    path = tmp_path / "a.map"
    path.write_bytes(encode(integers(), mode=mode, order=order, axes=axes, start=(3, -4, 5), extended=b"x" * 80))
    density = read_map(path)
    np.testing.assert_array_equal(density.values, integers())
    assert density.values.dtype == np.float32
    assert density.values.flags.c_contiguous
    np.testing.assert_allclose(density.voxel, (1.1, 1.2, 1.3), rtol=1e-6)
    np.testing.assert_allclose(density.corner, (3.3, -4.8, 6.5), rtol=1e-6)
    np.testing.assert_allclose(density.cell.parameters[:3], (5.5, 7.2, 9.1), rtol=1e-6)


def test_same_as_gemmi_for_a_full_cell(tmp_path: Path) -> None:
    path = tmp_path / "a.map"
    path.write_bytes(encode(integers(), axes=(3, 1, 2), m=DIMS, cell=(6.0, 7.0, 9.0, 80.0, 95.0, 100.0)))
    theirs = gemmi.read_ccp4_map(str(path), setup=True).grid
    ours = read_map(path)
    np.testing.assert_array_equal(ours.values, theirs.array)
    np.testing.assert_allclose(ours.cell.parameters, theirs.unit_cell.parameters)
    point = gemmi.Position(1.2, 3.4, 2.2)
    fraction = theirs.unit_cell.fractionalize(point)
    expected = np.array(fraction.tolist()) * DIMS
    np.testing.assert_allclose(ours.grid_coordinates(np.array([[1.2, 3.4, 2.2]]))[0], expected, atol=1e-6)


def test_start_wins_over_origin_and_origin_over_nothing(tmp_path: Path) -> None:
    path = tmp_path / "a.map"
    for start, origin, corner in (
        ((1, 2, 3), (50.0, 60.0, 70.0), (1.1, 2.4, 3.9)),
        ((0, 0, 0), (50.0, 60.0, 70.0), (50.0, 60.0, 70.0)),
        ((0, 0, 0), (0.0, 0.0, 0.0), (0.0, 0.0, 0.0)),
    ):
        path.write_bytes(encode(integers(), start=start, origin=origin))
        np.testing.assert_allclose(read_map(path).corner, corner, rtol=1e-6)


def test_start_of_an_oblique_cell_follows_the_axes(tmp_path: Path) -> None:
    path = tmp_path / "a.map"
    path.write_bytes(encode(integers(), start=(4, -3, 9), cell=(11.0, 14.4, 18.2, 75.0, 105.0, 110.0)))
    density = read_map(path)
    cell = gemmi.UnitCell(11.0, 14.4, 18.2, 75.0, 105.0, 110.0)
    expected = cell.orthogonalize(gemmi.Fractional(4 / 10, -3 / 12, 9 / 14)).tolist()
    np.testing.assert_allclose(density.corner, expected, rtol=1e-6)
    second = density.corner + density.step_matrix @ [1.0, 2.0, 3.0]
    np.testing.assert_allclose(density.grid_coordinates(second[None])[0], (1, 2, 3), atol=1e-9)


def test_wrong_machine_stamp_is_seen_through(tmp_path: Path) -> None:
    path = tmp_path / "a.map"
    path.write_bytes(encode(integers(), order=">", stamp=b"\x44\x44\x00\x00"))
    np.testing.assert_array_equal(read_map(path).values, integers())


def test_missing_axis_record_means_x_y_z(tmp_path: Path) -> None:
    path = tmp_path / "a.map"
    path.write_bytes(patched(64, "<3i", 0, 0, 0))
    np.testing.assert_array_equal(read_map(path).values, integers())


def test_header_alone(tmp_path: Path) -> None:
    path = tmp_path / "a.map.gz"
    path.write_bytes(gzip.compress(encode(integers(), axes=(3, 1, 2), mode=1, start=(1, 2, 3))[:HEADER_BYTES]))
    header = read_map_header(path)
    assert header.n == (7, 5, 6)
    assert header.dims == DIMS
    assert header.axes == (3, 1, 2)
    assert header.start == (1, 2, 3)
    assert header.nstart == (3, 1, 2)
    assert header.m == (10, 12, 14)
    assert header.mode == 1
    assert header.endianness == "<"
    np.testing.assert_allclose(header.voxel, (1.1, 1.2, 1.3), rtol=1e-6)


@pytest.mark.parametrize("name", ["b.map", "b.ccp4.gz"])
@pytest.mark.parametrize(("corner", "on_grid"), [((3.3, -2.4, 130.0), True), ((3.35, -2.4, 130.0), False), ((0, 0, 0), False)])
def test_round_trip(tmp_path: Path, name: str, corner: tuple[float, ...], on_grid: bool) -> None:
    values = np.random.default_rng(3).normal(size=(10, 12, 100)).astype(np.float32)
    before = Density(values, gemmi.UnitCell(11, 14.4, 130, 90, 90, 90), np.array(corner, dtype=float))
    write_map(tmp_path / name, before)
    after = read_map(tmp_path / name)
    np.testing.assert_array_equal(after.values, values)
    np.testing.assert_allclose(after.cell.parameters, before.cell.parameters, rtol=1e-6)
    np.testing.assert_allclose(after.corner, before.corner, atol=2e-5)
    assert any(read_map_header(tmp_path / name).nstart) is on_grid
    assert [p.name for p in tmp_path.iterdir()] == [name]


def test_round_trip_of_an_oblique_cell(tmp_path: Path) -> None:
    cell = gemmi.UnitCell(11, 14.4, 13, 80, 95, 105)
    values = integers((10, 12, 13))
    corner = np.array(cell.orthogonalize(gemmi.Fractional(0.2, -0.25, 1.0)).tolist())
    write_map(tmp_path / "c.map", Density(values, cell, corner))
    after = read_map(tmp_path / "c.map")
    np.testing.assert_allclose(after.corner, corner, atol=1e-5)
    theirs = gemmi.read_ccp4_map(str(tmp_path / "c.map")).grid
    np.testing.assert_array_equal(theirs.array, values)


def test_same_map_same_bytes(tmp_path: Path) -> None:
    density = Density(integers(), gemmi.UnitCell(5, 6, 7, 90, 90, 90), np.zeros(3))
    write_map(tmp_path / "one.map.gz", density)
    write_map(tmp_path / "two.map.gz", density)
    assert (tmp_path / "one.map.gz").read_bytes() == (tmp_path / "two.map.gz").read_bytes()


def test_nothing_is_left_when_the_folder_is_missing(tmp_path: Path) -> None:
    density = Density(integers(), gemmi.UnitCell(5, 6, 7, 90, 90, 90), np.zeros(3))
    with pytest.raises(OSError, match="No such file"):
        write_map(tmp_path / "nowhere" / "a.map", density)
    assert not list(tmp_path.iterdir())


def test_normalised() -> None:
    values = 3 + 5 * integers()
    scaled = Density(values, gemmi.UnitCell(5, 6, 7, 90, 90, 90), np.zeros(3)).normalised()
    assert scaled.values.dtype == np.float32
    assert scaled.values.mean(dtype=float) == pytest.approx(0, abs=1e-6)
    assert scaled.values.std(dtype=float) == pytest.approx(1, abs=1e-6)
    with pytest.raises(MapError, match="everywhere"):
        Density(np.ones(DIMS, np.float32), gemmi.UnitCell(5, 6, 7, 90, 90, 90), np.zeros(3)).normalised()


def test_contains() -> None:
    density = Density(integers(), gemmi.UnitCell(5, 6, 7, 90, 90, 90), np.array([10.0, 20.0, 30.0]))
    points = np.array([[10.0, 20.0, 30.0], [14.0, 25.0, 36.0], [14.1, 25.0, 36.0], [9.9, 20.0, 30.0]])
    assert density.contains(points).tolist() == [True, True, False, False]


NAN = float("nan")
HOSTILE = {
    "map_truncated": [encode(integers())[:-1], encode(integers())[:1500], b"", b"short", encode(integers())[:600]],
    "map_not_a_map": [b"ATOM      1  N   MET A   1" * 50, b"\0" * 5000, b"PK\x03\x04" + b"z" * 2000],
    "map_mode": [patched(12, "<i", 4), patched(12, "<i", 101), patched(12, "<i", -1)],
    "map_dimensions": [patched(0, "<i", 0), patched(4, "<i", -6), patched(8, "<i", -(2**31))],
    "map_sampling": [patched(28, "<i", 0), patched(32, "<i", -1)],
    "map_cell": [
        patched(40, "<f", 0.0),
        patched(44, "<f", NAN),
        patched(48, "<f", float("inf")),
        patched(40, "<f", -11.0),
        patched(52, "<f", NAN),
        patched(56, "<f", 180.0),
        patched(52, "<3f", 30.0, 30.0, 120.0),
    ],
    "map_axes": [patched(64, "<3i", 1, 1, 3), patched(64, "<3i", 1, 2, 4)],
    "map_header": [patched(92, "<i", -80), patched(92, "<i", 2**31 - 1)],
    "map_placement": [patched(196, "<f", NAN), patched(200, "<f", 1e30), patched(16, "<i", 2**31 - 1)],
    "map_too_large": [patched(0, "<3i", 20000, 20000, 20000)],
    "map_not_finite": [patched(HEADER_BYTES + 40, "<f", NAN), patched(HEADER_BYTES + 40, "<f", float("inf"))],
    "map_constant": [encode(np.full(DIMS, 2.5, np.float32))],
}
CASES = [(code, raw) for code, raws in HOSTILE.items() for raw in raws]


@pytest.mark.parametrize(("code", "raw"), CASES, ids=[f"{c}-{i}" for i, (c, _) in enumerate(CASES)])
@pytest.mark.parametrize("packed", [False, True])
def test_hostile_files_have_their_own_codes(tmp_path: Path, code: str, raw: bytes, packed: bool) -> None:
    path = tmp_path / "hostile.map"
    path.write_bytes(gzip.compress(raw, mtime=0) if packed else raw)
    assert code_of(path) == code


def test_missing_file_and_folder(tmp_path: Path) -> None:
    assert code_of(tmp_path / "nowhere.map") == "map_missing"
    assert code_of(tmp_path) == "map_missing"


def test_gzip_cut_short_or_damaged(tmp_path: Path) -> None:
    whole = gzip.compress(encode(np.random.default_rng(1).normal(size=(20, 20, 20)).astype(np.float32)))
    path = tmp_path / "a.map.gz"
    for cut in (5, 200, len(whole) // 2, len(whole) - 9, len(whole) - 3):
        path.write_bytes(whole[:cut])
        assert code_of(path) == "map_truncated"
    damaged = bytearray(whole)
    damaged[-6] ^= 0xFF
    path.write_bytes(bytes(damaged))
    assert code_of(path) == "map_damaged"
    damaged = bytearray(whole)
    damaged[2] = 99
    path.write_bytes(bytes(damaged))
    assert code_of(path) == "map_damaged"


def test_no_more_is_unpacked_than_the_header_promises(tmp_path: Path) -> None:
    path = tmp_path / "bomb.map.gz"
    with gzip.open(path, "wb", compresslevel=9) as stream:
        stream.write(encode(integers()))
        for _ in range(200):
            stream.write(bytes(1 << 20))
    np.testing.assert_array_equal(read_map(path).values, integers())


def test_a_large_promise_is_refused_before_memory_is_asked_for(tmp_path: Path) -> None:
    path = tmp_path / "a.map"
    path.write_bytes(patched(0, "<3i", 1200, 1200, 1200))
    assert code_of(path) == "map_truncated"
    path.write_bytes(encode(integers()))
    with pytest.raises(MapError, match="more than the 100"):
        read_map(path, max_voxels=100)


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(st.tuples(st.integers(0, 255), st.binary(min_size=4, max_size=4)), min_size=1, max_size=4),
    st.booleans(),
    st.integers(0, 2000),
)
def test_any_damage_is_read_or_refused(tmp_path: Path, words: list[tuple[int, bytes]], packed: bool, cut: int) -> None:
    raw = bytearray(encode(integers()))
    for word, value in words:
        raw[4 * word : 4 * word + 4] = value
    data = bytes(raw[: len(raw) - cut] if cut < len(raw) else raw)
    path = tmp_path / "a.map"
    path.write_bytes(gzip.compress(data, compresslevel=1) if packed else data)
    try:
        density = read_map(path)
    except MapError as fault:
        problem = fault
    else:
        assert np.isfinite(density.values).all()
        assert np.isfinite(density.corner).all()
        assert (density.voxel > 0).all()
        return
    assert problem.code.startswith("map_")
    assert problem.hint
