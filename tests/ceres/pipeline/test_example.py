"""The example archive walks through the house with nothing replaced."""

from __future__ import annotations

import gzip
import io
import json
from typing import TYPE_CHECKING, Any

import gemmi
import pyarrow.parquet as pq
import pytest
from django.core.management import call_command

from ceres.models import Job, Result, Verdict
from ceres.pipeline import storage

if TYPE_CHECKING:
    from pathlib import Path

    from ceres.models import Artifact

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.timeout(300)]


def content(artifact: Artifact) -> bytes:
    with storage.open_artifact(artifact.storage_key) as handle:
        return handle.read()


def test_the_demo_publishes_the_example(folders: Path, settings: Any) -> None:
    settings.CERES_ARCHIVE, settings.CERES_DEMO_SERVE = "", False
    out = io.StringIO()
    call_command("demo", stdout=out)
    outcomes = dict(Job.objects.values_list("entry__key", "code"))
    assert outcomes == {
        "9xa1_90001": "",
        "9xb1_90002": "RESOLUTION_MISMATCH",
        "9xb2_90003": "GRID_MISMATCH",
        "EMD-90004": "NO_MODEL",
    }
    result = Result.objects.get()
    assert result.verdict == Verdict.IMPROVED
    assert result.refined_cc_mask > result.initial_cc_mask
    assert result.refined_clashscore < result.initial_clashscore
    files = {artifact.kind: artifact for artifact in result.artifacts.all()}
    table = json.loads(content(files["table_one"]))
    assert table["refined"]["cc_mask"] == result.refined_cc_mask
    atoms = []
    for kind in ("initial_model", "refined_model"):
        text = gzip.decompress(content(files[kind])).decode()
        atoms.append(gemmi.make_structure_from_block(gemmi.cif.read_string(text).sole_block())[0].count_atom_sites())
    assert atoms == [result.entry.atoms, result.entry.atoms]
    residues = pq.read_table(io.BytesIO(content(files["residues"])))
    assert set(residues["state"].to_pylist()) == {"initial", "refined"}
    call_command("demo", stdout=out)
    assert Result.objects.count() == 1
