"""Turn the files of a refinement into a published result."""

from __future__ import annotations

import hashlib
import json
import math
from typing import TYPE_CHECKING, Any

from django.db.models import Q

from ceres import verdict
from ceres.models import METRIC_KEYS, Artifact, ArtifactKind, Entry, Job, Result, metric_column
from ceres.pipeline.outcome import WorkMissingError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from ceres.pipeline import storage

FILES: dict[ArtifactKind, str] = {
    ArtifactKind.REFINED_MODEL: "refined.cif.gz",
    ArtifactKind.INITIAL_MODEL: "model_initial.cif.gz",
    ArtifactKind.TABLE_ONE: "table_one.json",
    ArtifactKind.RESIDUES: "residues.parquet",
    ArtifactKind.BOXED_MAP: "boxed_map.ccp4.gz",
    ArtifactKind.CHANGES: "changes.json",
    ArtifactKind.CURVES: "curves.json",
    ArtifactKind.LOG_JSON: "log.jsonl",
    ArtifactKind.LOG_TEXT: "log.txt",
}
"""Files of a result; their names are a promise."""

MANIFEST = "manifest.json"
STATES = ("initial", "refined")


def storage_prefix(job: Job) -> str:
    """Return the key below which the files of a job's result lie."""
    return f"runs/{job.run.label}/{job.entry.folder}/{job.entry.key}"


def read_table(folder: Path) -> dict[str, Any]:
    """Return table_one.json of a refinement with every metric in it.

    A metric that the engine left out, and a value that isn't finite, becomes None with a reason.
    """
    path = folder / FILES[ArtifactKind.TABLE_ONE]
    if not path.exists():
        raise WorkMissingError(path.name)
    table: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    reasons = dict(table.get("reasons", {}))
    for state in STATES:
        column = table[state]
        values = {key: _finite(column.get(key)) for key in METRIC_KEYS}
        for key, value in values.items():
            if value is None:
                reasons.setdefault(key, "not_computed" if column.get(key) is None else "failed")
        table[state] = values
    table["reasons"] = reasons
    return table


def _finite(value: float | None) -> float | None:
    return float(value) if value is not None and math.isfinite(value) else None


def write_manifest(folder: Path) -> list[dict[str, Any]]:
    """Write manifest.json: kind, name, SHA-256 and size in bytes of every file of the result.

    Raises
    ------
    WorkMissingError
        If a promised file isn't there.
    """
    rows = []
    for kind, name in FILES.items():
        path = folder / name
        if not path.exists():
            raise WorkMissingError(name)
        rows.append({"kind": str(kind), "name": name, **_fingerprint(path)})
    (folder / MANIFEST).write_text(json.dumps({"schema": 1, "files": rows}, indent=1) + "\n", encoding="utf-8")
    return rows


def read_manifest(folder: Path) -> list[dict[str, Any]]:
    """Return the rows of manifest.json, the manifest itself last."""
    path = folder / MANIFEST
    if not path.exists():
        raise WorkMissingError(MANIFEST)
    rows: list[dict[str, Any]] = json.loads(path.read_text(encoding="utf-8"))["files"]
    return [*rows, {"kind": str(ArtifactKind.MANIFEST), "name": MANIFEST, **_fingerprint(path)}]


def _fingerprint(path: Path) -> dict[str, Any]:
    with path.open("rb") as handle:
        digest = hashlib.file_digest(handle, "sha256").hexdigest()
    return {"sha256": digest, "size": path.stat().st_size}


def _inputs(job: Job, table: Mapping[str, Any]) -> dict[str, Any]:
    """Return what the engine read, and the files of the archive that it was made from, with their checksums."""
    files = job.entry.facts.get("files", {})
    originals = [{"name": path, "sha256": digest} for path, digest in files.items()]
    return {**table.get("inputs", {}), "archive": job.archive, "archive_files": originals}


def record_result(job: Job, table: Mapping[str, Any], manifest: list[dict[str, Any]], placement: storage.Placement) -> None:
    """Write the result and its artifacts and make it the entry's latest; call it inside a transaction."""
    comparison = verdict.compare(table["initial"], table["refined"])
    columns = {metric_column(state, key): table[state][key] for state in STATES for key in METRIC_KEYS}
    result = Result.objects.create(
        job=job,
        entry=job.entry,
        run=job.run,
        verdict=comparison.verdict,
        better=len(comparison.better),
        worse=len(comparison.worse),
        compared=comparison.compared,
        reasons=table["reasons"],
        findings=job.findings,
        inputs=_inputs(job, table),
        settings=table.get("settings", {}),
        versions=table.get("versions", {}),
        timings=table.get("timings_s", {}),
        refinement=table.get("refinement", {}),
        **columns,
    )
    prefix = storage_prefix(job)
    Artifact.objects.bulk_create(
        Artifact(result=result, kind=row["kind"], storage_key=f"{prefix}/{row['name']}", sha256=row["sha256"], size=row["size"])
        for row in manifest
    )
    older = Q(latest_result=None) | Q(latest_result__run__created_at__lte=job.run.created_at)
    Entry.objects.filter(older, pk=job.entry_id).update(latest_result=result)
    placement.commit()
