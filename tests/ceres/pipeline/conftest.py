"""A run with jobs, folders of its own, and a curation and an engine that answer at once."""

from __future__ import annotations

import gzip
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from django.core.files.storage import storages

from ceres.models import METRIC_KEYS, Entry, Job, Run, Stage
from ceres.pipeline import stages
from ceres.pipeline.handover import Handover
from ceres.pipeline.outcome import Outcome, Work

if TYPE_CHECKING:
    from collections.abc import Callable

ENGINE_FILES = ("refined.cif.gz", "residues.parquet", "boxed_map.ccp4.gz", "changes.json", "curves.json", "log.jsonl", "log.txt")


@pytest.fixture
def folders(settings: Any, tmp_path: Path) -> Path:
    """Folder below which the pipeline keeps everything."""
    settings.CERES_WORK = tmp_path / "work"
    settings.CERES_CACHE = tmp_path / "cache"
    settings.CERES_VAR = tmp_path
    location = {"location": tmp_path / "artifacts"}
    settings.STORAGES = {
        **settings.STORAGES,
        "artifacts": {"BACKEND": "django.core.files.storage.FileSystemStorage", "OPTIONS": location},
    }
    assert Path(storages["artifacts"].path("")) == tmp_path / "artifacts"
    return tmp_path


@pytest.fixture
def run(folders: Path, transactional_db: None) -> Run:
    """A run without jobs."""
    wanted = {"protocol": "default", "seed": 0}
    return Run.objects.create(
        label="2026-11", engine_version="0.1.0", settings=wanted, settings_hash="0" * 64, archive=str(folders)
    )


@pytest.fixture
def make_job(run: Run) -> Callable[..., Job]:
    """Make a waiting job."""

    def make(pdb_id: str = "9abc", number: str = "0123", **columns: Any) -> Job:
        entry = Entry.objects.create(key=f"{pdb_id}_{number}", pdb_id=pdb_id, emdb_id=f"EMD-{number}")
        return Job.objects.create(entry=entry, run=run, archive=run.archive, **columns)

    return make


@dataclass
class Engine:
    """Stands for curation and the engine; counts what it is asked to do."""

    initial: dict[str, float | None] = field(default_factory=lambda: dict.fromkeys(METRIC_KEYS, 1.0))
    refined: dict[str, float | None] = field(default_factory=lambda: dict.fromkeys(METRIC_KEYS, 1.0))
    reasons: dict[str, str] = field(default_factory=dict)
    calls: list[str] = field(default_factory=list)
    faults: dict[str, BaseException] = field(default_factory=dict)
    on_refine: Callable[[dict[str, Any]], None] | None = None
    operators: tuple[tuple[float, ...], ...] = ()
    half_maps: bool = False

    def _begin(self, stage: str) -> None:
        self.calls.append(stage)
        if stage in self.faults:
            raise self.faults[stage]

    def fetch(self, work: Work) -> Outcome:
        self._begin("fetch")
        return Outcome(stage=Stage.CURATE)

    def curate(self, work: Work) -> Outcome:
        self._begin("curate")
        if work.job.entry.pdb_id is None:
            return stages.curate(work)
        model, density = work.folder / "model.cif.gz", work.folder / "map.ccp4"
        with gzip.open(model, "wt") as handle:
            handle.write("data_model\n")
        density.write_bytes(b"map")
        halves = [work.folder / f"half_{number}.ccp4" for number in (1, 2)] if self.half_maps else []
        for half in halves:
            half.write_bytes(b"half-map")
        names = tuple(map(str, halves))
        found: dict[str, Any] = {"half_maps": names, "operators": self.operators}
        Handover(model=str(model), density=str(density), resolution=3.0, **found).write(work.folder)
        return Outcome(stage=Stage.REFINE, entry={"resolution": 3.0, "atoms": 8, "chains": 1, "title": "Test"})

    def refine_files(self, model: Path, density: Path, *, output: Path, progress: Any, **wanted: Any) -> dict[str, Any]:
        self._begin("refine")
        progress("refine", "cycle 1", 0.5)
        if wanted["cross_validate"]:
            progress("cross-validate", "cycle 1", 0.0)
        if self.on_refine:
            self.on_refine(wanted)
        output.mkdir(exist_ok=True)
        for name in ENGINE_FILES:
            (output / name).write_bytes(name.encode())
        table = {
            "schema": 1,
            "initial": self.initial,
            "refined": self.refined,
            "reasons": self.reasons,
            "inputs": {"model": {"name": model.name}},
            "settings": {"resolution": wanted["resolution"]},
            "versions": {"ceres": "0.1.0"},
            "timings_s": {"refine": 0.1},
        }
        (output / "table_one.json").write_text(json.dumps(table))
        return table


@pytest.fixture
def engine(monkeypatch: pytest.MonkeyPatch, folders: Path) -> Engine:
    """Put the stand-in in the place of curation and of the engine."""
    stand_in = Engine()
    monkeypatch.setitem(stages.STAGES, Stage.FETCH, stand_in.fetch)
    monkeypatch.setitem(stages.STAGES, Stage.CURATE, stand_in.curate)
    monkeypatch.setattr("refinement.run.refine_files", stand_in.refine_files)
    return stand_in


HEADER = """<?xml version="1.0"?>
<emd emdb_id="{emdb_id}" version="3.0.1.4">
 <admin><current_status><code>REL</code></current_status><title>A test map</title>
  <key_dates><map_release>2020-01-29</map_release></key_dates></admin>
 <crossreferences>{models}</crossreferences>
 <structure_determination_list><structure_determination><method>singleParticle</method>
  <singleparticle_processing><final_reconstruction><resolution units="Å">3.1</resolution></final_reconstruction>
  </singleparticle_processing></structure_determination></structure_determination_list>
 <map><file>emd_{number}.map.gz</file></map>
</emd>"""
MODEL = """data_9ABC
_entry.id 9ABC
_struct.title 'A test model'
_exptl.method 'ELECTRON MICROSCOPY'
_em_3d_reconstruction.resolution 3.1
loop_
_atom_site.group_PDB
_atom_site.id
_atom_site.type_symbol
_atom_site.label_atom_id
_atom_site.label_comp_id
_atom_site.label_asym_id
_atom_site.label_entity_id
_atom_site.label_seq_id
_atom_site.auth_seq_id
_atom_site.auth_asym_id
_atom_site.Cartn_x
_atom_site.Cartn_y
_atom_site.Cartn_z
_atom_site.occupancy
_atom_site.B_iso_or_equiv
_atom_site.pdbx_PDB_model_num
_atom_site.label_alt_id
_atom_site.pdbx_PDB_ins_code
ATOM 1 N N   GLY A 1 1 1 A 1.0 1.0 1.0 1.0 30 1 . ?
ATOM 2 C CA  GLY A 1 1 1 A 2.4 1.0 1.0 1.0 30 1 . ?
ATOM 3 C C   GLY A 1 1 1 A 3.0 2.4 1.0 1.0 30 1 . ?
ATOM 4 O O   GLY A 1 1 1 A 2.3 3.4 1.0 1.0 30 1 . ?
"""


@pytest.fixture
def small_archive(tmp_path: Path) -> Path:
    """An archive with two models in a map that isn't there, and a map without a model."""
    root = tmp_path / "archive"
    models = {"9abc": "0123", "9abd": "0123"}
    _write(root / "pdb/holdings/current_file_holdings.json.gz", json.dumps({name.upper(): {"mmcif": []} for name in models}))
    _write(root / "emdb/status/latest/emdb_released_holdings.json", json.dumps({"EMD-0123": {}, "EMD-0456": {}}))
    for name in models:
        _write(root / f"pdb/data/structures/divided/mmCIF/ab/{name}.cif.gz", MODEL.replace("9ABC", name.upper()))
    listed = "".join(f"<pdb_reference><pdb_id>{name}</pdb_id></pdb_reference>" for name in models)
    for number, links in (("0123", f"<pdb_list>{listed}</pdb_list>"), ("0456", "")):
        text = HEADER.format(emdb_id=f"EMD-{number}", number=number, models=links)
        _write(root / f"emdb/structures/EMD-{number}/header/emd-{number}.xml", text)
    return root


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    content = text.encode()
    path.write_bytes(gzip.compress(content) if path.suffix == ".gz" else content)
