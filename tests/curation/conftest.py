"""A tiny archive made from nothing, and a server for archives."""

from __future__ import annotations

import gzip
import json
import threading
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING, Any

import gemmi
import numpy as np
import pytest
from hypothesis import settings

from refinement.maps.density import Density, write_map

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

# The same examples on every machine, however busy it is.
settings.register_profile("ceres", derandomize=True, deadline=None)
settings.load_profile("ceres")

DIMS = (24, 20, 28)
VOXEL = 1.5
CORNER = (3.0, -6.0, 4.5)

HEADER = """<?xml version="1.0" encoding="UTF-8"?>
<emd emdb_id="EMD-{number}" version="3.0.11.3">
  <admin><current_status><code>REL</code></current_status>
    <key_dates><map_release>2026-01-07</map_release></key_dates><title>A tiny map</title></admin>
  <crossreferences>{links}</crossreferences>
  <structure_determination_list><structure_determination structure_determination_id="1">
    <method>{method}</method>
    <singleparticle_processing image_processing_id="1"><final_reconstruction>
      <applied_symmetry><point_group>C1</point_group></applied_symmetry>
      {resolutions}<resolution_method>FSC 0.143 CUT-OFF</resolution_method>
    </final_reconstruction></singleparticle_processing>
  </structure_determination></structure_determination_list>
  <map format="CCP4" size_kbytes="53"><file>emd_{number}.map.gz</file>
    <symmetry><space_group>1</space_group></symmetry>
    <dimensions><col>{dims[0]}</col><row>{dims[1]}</row><sec>{dims[2]}</sec></dimensions>
    <spacing><x>{dims[0]}</x><y>{dims[1]}</y><z>{dims[2]}</z></spacing>
    <cell><a units="Å">{cell[0]}</a><b units="Å">{cell[1]}</b><c units="Å">{cell[2]}</c>
      <alpha units="deg">90</alpha><beta units="deg">90</beta><gamma units="deg">90</gamma></cell>
    <axis_order><fast>X</fast><medium>Y</medium><slow>Z</slow></axis_order>
    <pixel_spacing><x units="Å">{voxel}</x><y units="Å">{voxel}</y><z units="Å">{voxel}</z></pixel_spacing>
    <contour_list>
      <contour primary="false"><level>9</level></contour><contour primary="true"><level>0.5</level></contour></contour_list>
  </map>
  <interpretation>{halves}</interpretation>
</emd>
"""


@dataclass
class TinyArchive:
    """Writes entries in the archives' layout; every option is one thing that may be wrong with an entry."""

    root: Path
    models: dict[str, Any] = field(default_factory=dict)
    maps: dict[str, Any] = field(default_factory=dict)

    def add(self, pdb_id: str, number: str, *, link: str = "both", **options: Any) -> str:
        """Add a pair and return its key."""
        self.add_map(number, [pdb_id] if link in {"both", "emdb"} else [], **options)
        self.add_model(pdb_id, [number] if link in {"both", "pdb"} else [], **options)
        return f"{pdb_id}_{number}"

    def add_model(self, pdb_id: str, numbers: list[str], **options: Any) -> None:
        structure = options.get("structure") or helix(options.get("residues", 12))
        block = structure.make_mmcif_document().sole_block()
        block.set_pair("_entry.id", pdb_id.upper())
        block.set_pair("_exptl.method", gemmi.cif.quote(options.get("exptl", "ELECTRON MICROSCOPY")))
        if options.get("model_resolution", 3.0) is not None:
            block.set_pair("_em_3d_reconstruction.resolution", str(options.get("model_resolution", 3.0)))
        block.set_mmcif_category(
            "_cell.", dict(zip(CELL_TAGS, ([str(x)] for x in options.get("cell", (1, 1, 1, 90, 90, 90))), strict=True))
        )
        if numbers:
            rows = {"db_name": ["EMDB"] * len(numbers), "db_id": [f"EMD-{n}" for n in numbers]}
            rows["content_type"] = [options.get("content", "associated EM volume")] * len(numbers)
            block.set_mmcif_category("_pdbx_database_related.", rows)
        for category, rows in options.get("categories", {}).items():
            block.set_mmcif_category(category, rows)
        path = self.root / f"pdb/data/structures/divided/mmCIF/{pdb_id[1:3]}/{pdb_id}.cif.gz"
        self.write(path, gzip.compress(block.as_string().encode()))
        self.models[pdb_id.upper()] = {"mmcif": [f"/{path.relative_to(self.root)}"]}
        self.write_holdings()

    def add_map(self, number: str, pdb_ids: list[str], **options: Any) -> None:
        folder = self.root / f"emdb/structures/EMD-{number}"
        links = "".join(f"<pdb_reference><pdb_id>{name}</pdb_id></pdb_reference>" for name in pdb_ids)
        names = [f"emd_{number}_half_map_{k}.map.gz" for k in (1, 2)] if options.get("half_maps") else []
        halves = "".join(f"<half_map><file>{name}</file></half_map>" for name in names)
        values = options.get("map_resolutions", (3.0,))
        text = HEADER.format(
            number=number,
            links=f"<pdb_list>{links}</pdb_list>" if links else "",
            method=options.get("method", "singleParticle"),
            resolutions="".join(f'<resolution units="Å">{value}</resolution>' for value in values),
            dims=DIMS,
            cell=options.get("stated_cell", [VOXEL * n for n in DIMS]),
            voxel=VOXEL,
            halves=f"<half_map_list>{halves}</half_map_list>" if halves else "",
        )
        self.write(folder / f"header/emd-{number}.xml", options.get("header", text.encode()))
        (folder / "map").mkdir(exist_ok=True)
        write_map(folder / f"map/emd_{number}.map.gz", density(options.get("seed", 1)))
        (folder / "other").mkdir(exist_ok=True)
        for k, name in enumerate(names):
            write_map(folder / "other" / name, density(k + 2, corner=options.get("half_corner", CORNER)))
        self.maps[f"EMD-{number}"] = {}
        self.write_holdings()

    def map_file(self, number: str) -> Path:
        return self.root / f"emdb/structures/EMD-{number}/map/emd_{number}.map.gz"

    def model_file(self, pdb_id: str) -> Path:
        return self.root / f"pdb/data/structures/divided/mmCIF/{pdb_id[1:3]}/{pdb_id}.cif.gz"

    def write_holdings(self) -> None:
        self.write(self.root / "pdb/holdings/current_file_holdings.json.gz", gzip.compress(json.dumps(self.models).encode()))
        self.write(self.root / "emdb/status/latest/emdb_released_holdings.json", json.dumps(self.maps).encode())

    @staticmethod
    def write(path: Path, data: bytes) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)


CELL_TAGS = ("length_a", "length_b", "length_c", "angle_alpha", "angle_beta", "angle_gamma")


def helix(residues: int = 12, *, chains: str = "A", names: tuple[str, ...] = ("N", "CA", "C", "O", "CB")) -> gemmi.Structure:
    """Return alanine chains on a helix around the middle of the map; only the topology is realistic."""
    structure = gemmi.Structure()
    structure.name = "TINY"
    model = gemmi.Model(1)
    for c, name in enumerate(chains):
        chain = gemmi.Chain(name)
        for i in range(residues):
            residue = gemmi.Residue()
            residue.name, residue.seqid = "ALA", gemmi.SeqId(i + 1, " ")
            for k, atom_name in enumerate(names):
                atom = gemmi.Atom()
                atom.name, atom.element = atom_name, gemmi.Element(atom_name[0])
                angle = np.radians(100 * i + 20 * k)
                atom.pos = gemmi.Position(18 + 3 * np.cos(angle) + 8 * c, 6 + 3 * np.sin(angle), 12 + 1.5 * i + 0.3 * k)
                atom.b_iso, atom.occ = 30.0 + k, 1.0
                residue.add_atom(atom)
            chain.add_residue(residue)
        model.add_chain(chain)
    structure.add_model(model)
    structure.setup_entities()
    structure.assign_label_seq_id()
    return structure


def density(seed: int, *, dims: tuple[int, int, int] = DIMS, voxel: float = VOXEL, corner: tuple[float, ...] = CORNER) -> Density:
    """Return a map of noise."""
    values = np.random.default_rng(seed).normal(size=dims).astype(np.float32)
    cell = gemmi.UnitCell(*(voxel * n for n in dims), 90, 90, 90)
    return Density(values, cell, np.array(corner, dtype=np.float64))


@pytest.fixture
def tiny(tmp_path: Path) -> TinyArchive:
    """An empty archive to which entries can be added."""
    return TinyArchive(tmp_path / "archive")


@pytest.fixture
def make_helix() -> Callable[..., gemmi.Structure]:
    """Maker of small models."""
    return helix


@pytest.fixture
def make_density() -> Callable[..., Density]:
    """Maker of small maps."""
    return density


@dataclass
class Server:
    """What a test server did and how it shall misbehave."""

    url: str = ""
    cut_after: int | None = None
    busy: int = 0
    ranges: bool = True
    requests: list[tuple[str, str | None, int]] = field(default_factory=list)
    cut: set[str] = field(default_factory=set)


class _Handler(SimpleHTTPRequestHandler):
    """Static files with ETag, byte ranges, and the faults that `Server` asks for."""

    state: Server

    def log_message(self, *args: object) -> None:
        """Say nothing."""

    def do_GET(self) -> None:
        path, state = Path(self.translate_path(self.path)), self.state
        wanted = self.headers.get("Range")
        if state.busy > 0:
            state.busy -= 1
            self.answer(503, b"", wanted)
            return
        if not path.is_file():
            self.answer(404, b"", wanted)
            return
        data = path.read_bytes()
        etag = f'"{hash(data):x}"'
        if self.headers.get("If-None-Match") == etag:
            self.answer(304, b"", wanted)
        elif wanted and state.ranges and self.headers.get("If-Range") == etag:
            first = int(wanted.removeprefix("bytes=").rstrip("-"))
            if first >= len(data):
                self.answer(416, b"", wanted, {"Content-Range": f"bytes */{len(data)}"})
                return
            span = f"bytes {first}-{len(data) - 1}/{len(data)}"
            self.answer(206, data[first:], wanted, {"ETag": etag, "Content-Range": span})
        else:
            self.answer(200, data, wanted, {"ETag": etag})

    def answer(self, status: int, data: bytes, wanted: str | None, headers: dict[str, str] | None = None) -> None:
        state = self.state
        state.requests.append((self.path, wanted, status))
        self.send_response(status)
        self.send_header("Content-Length", str(len(data)))
        for key, value in (headers or {}).items():
            self.send_header(key, value)
        self.end_headers()
        if state.cut_after is not None and len(data) > state.cut_after and self.path not in state.cut:
            state.cut.add(self.path)
            self.wfile.write(data[: state.cut_after])
            self.wfile.flush()
            self.close_connection = True
            self.connection.shutdown(2)
            return
        self.wfile.write(data)


@pytest.fixture
def serve() -> Iterator[Callable[[Path], Server]]:
    """Function that serves a folder over HTTP until the test ends."""
    with _servers() as start:
        yield start


@contextmanager
def _servers() -> Iterator[Callable[[Path], Server]]:
    running: list[ThreadingHTTPServer] = []

    def start(folder: Path) -> Server:
        state = Server()
        handler = type("Handler", (_Handler,), {"state": state})
        server = ThreadingHTTPServer(("127.0.0.1", 0), lambda *args: handler(*args, directory=str(folder)))
        running.append(server)
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        state.url = f"http://127.0.0.1:{server.server_address[1]}"
        return state

    try:
        yield start
    finally:
        for server in running:
            server.shutdown()
            server.server_close()
