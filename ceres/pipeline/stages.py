"""The stages of a job, one function each. A stage can be done again at any time with the same outcome."""

from __future__ import annotations

import contextlib
import gzip
import math
import shutil
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Any

from django.conf import settings

from ceres.models import ArtifactKind, SizeClass, Stage, State
from ceres.pipeline import memory, publish, storage
from ceres.pipeline.handover import Handover
from ceres.pipeline.outcome import Outcome, Work
from ceres.pipeline.sources import open_archive
from ceres.pipeline.watch import EngineProgress
from curation.archive import header_path, model_path
from curation.curate import curate as curate_pair
from curation.emdb_header import MAX_HEADER_BYTES
from curation.findings import Code, refuse
from curation.identifiers import Declarer, Pair
from curation.metadata import MAX_MODEL_BYTES

if TYPE_CHECKING:
    from collections.abc import Callable

    from ceres.models import Job
    from curation.archive import Archive
    from curation.curate import Curated
    from refinement.errors import InputError

OUTPUT = "output"
"""Folder of the engine's files within the work folder."""


def fetch(work: Work) -> Outcome:
    """Bring the metadata here: the map's header and the model.

    What is missing or damaged is left for curation to judge, which fetches the maps of the pairs that
    their metadata don't exclude.
    """
    entry = work.job.entry
    wanted = {header_path(entry.emdb_id): MAX_HEADER_BYTES}
    if entry.pdb_id:
        wanted[model_path(entry.pdb_id)] = MAX_MODEL_BYTES
    work.progress(Stage.FETCH, ", ".join(path.rpartition("/")[2] for path in wanted), 0.0)
    with open_archive(work.job.archive) as archive:
        archive.fetch_all(wanted)
    return Outcome(stage=Stage.CURATE)


def curate(work: Work) -> Outcome:
    """Decide whether the pair may be refined, and prepare its files."""
    job = work.job
    with open_archive(job.archive) as archive:
        curated = curate_pair(_pair(job), archive, work.folder, strict=job.run.strict, progress=work.progress)
        if curated.passed:
            curated = _with_own_maps(curated, archive, work.folder)
    findings = [finding.as_dict() for finding in curated.findings]
    entry = _entry_columns(curated.facts)
    if not curated.passed:
        deciding = next(row for row in findings if row["code"] == curated.code)
        return Outcome(
            state=State.REFUSED,
            code=curated.code,
            message=deciding["sentence"],
            hint=deciding["hint"],
            job={"findings": findings},
            entry=entry,
        )
    Handover.of(curated).write(work.folder)
    return Outcome(stage=Stage.REFINE, job={"findings": findings, "size_class": _size_class(curated.facts)}, entry=entry)


def refine(work: Work) -> Outcome:
    """Refine and validate the model with the engine; where there are half-maps, into one of them alone too."""
    from refinement.run import refine_files  # loads the compiled kernels, which only workers need

    handover = Handover.read(work.folder)
    wanted = work.job.run.settings
    cross_validate = bool(handover.half_maps) and wanted.get("cross_validate", False)  # runs of earlier versions had none
    memory.require_room(Path(handover.density), tuple(map(Path, handover.half_maps)))
    with memory.bounded():
        refine_files(
            Path(handover.model),
            Path(handover.density),
            resolution=handover.resolution,
            half_maps=tuple(map(Path, handover.half_maps)),
            contour=handover.contour,
            libraries=tuple(map(Path, handover.libraries)),
            protocol=wanted["protocol"],
            threads=settings.CERES_THREADS or None,
            seed=wanted["seed"],
            operators=handover.exact_operators,
            cross_validate=cross_validate,
            output=work.folder / OUTPUT,
            progress=EngineProgress(memory.watched(work.progress), Stage.REFINE, cross_validating=cross_validate),
        )
    return Outcome(stage=Stage.VALIDATE)


def validate(work: Work) -> Outcome:
    """See that everything promised is there and readable, and fingerprint it."""
    handover = Handover.read(work.folder)
    output = work.folder / OUTPUT
    publish.read_table(output)
    work.progress(Stage.VALIDATE, "deposited model", 0.3)
    _pack_model(Path(handover.model), output / publish.FILES[ArtifactKind.INITIAL_MODEL])
    work.progress(Stage.VALIDATE, "checksums", 0.6)
    publish.write_manifest(output)
    return Outcome(stage=Stage.PUBLISH)


def publish_result(work: Work) -> Outcome:
    """Store the files, and write the result and the end of the job in one transaction."""
    output = work.folder / OUTPUT
    table, manifest = publish.read_table(output), publish.read_manifest(output)
    placement = storage.Placement(publish.storage_prefix(work.job), [output / row["name"] for row in manifest])
    work.progress(Stage.PUBLISH, "store files", 0.2)
    placement.stage()

    def record() -> None:
        publish.record_result(work.job, table, manifest, placement)

    return Outcome(state=State.PUBLISHED, record=record, cleanup=placement.discard)


STAGES: dict[Stage, Callable[[Work], Outcome]] = {
    Stage.FETCH: fetch,
    Stage.CURATE: curate,
    Stage.REFINE: refine,
    Stage.VALIDATE: validate,
    Stage.PUBLISH: publish_result,
}


def refuse_input(job: Job, error: InputError) -> Outcome:
    """Refuse a pair that the library can't process (rule v), found out after curation."""
    finding = refuse(Code.PROCESSING_ERROR, error.message, {"error": error.code}, error.hint)
    return Outcome(
        state=State.REFUSED,
        code=str(finding.code),
        message=finding.sentence,
        hint=finding.hint,
        job={"findings": [*job.findings, finding.as_dict()]},
    )


def _with_own_maps(curated: Curated, archive: Archive, folder: Path) -> Curated:
    """Let the maps lie in the work folder, so that they are there for the refinement whatever the cache evicts."""
    if curated.map_path is None:
        return curated
    halves = tuple(archive.keep(path, folder) for path in curated.half_map_paths)
    return replace(curated, map_path=archive.keep(curated.map_path, folder), half_map_paths=halves)


def _pair(job: Job) -> Pair:
    listing = job.listing
    return Pair(
        emdb_id=job.entry.emdb_id,
        pdb_id=job.entry.pdb_id,
        declared_by=tuple(map(Declarer, listing.get("declared_by", ()))),
        unreleased=tuple(listing.get("unreleased", ())),
        fates=tuple(listing.get("fates", ())),
    )


def _entry_columns(facts: dict[str, Any]) -> dict[str, Any]:
    """Return what curation learned about the entry, as columns; atoms and chains are those of the deposited file."""
    deposited = facts["deposited"] or {"atoms": None, "chains": None}
    return {
        "title": facts["title"],
        "method": ", ".join(facts["methods"]),
        "released": _released(facts["dates"]),
        "resolution": facts["resolution"],
        "atoms": deposited["atoms"],
        "chains": None if deposited["chains"] is None else len(deposited["chains"]),
        "facts": facts,
    }


def _released(dates: dict[str, dict[str, str]]) -> date | None:
    """Return the day on which the map was released, else the model."""
    for text in (dates["map"].get("map_release"), dates["model"].get("release")):
        with contextlib.suppress(ValueError):
            if text:
                return date.fromisoformat(text[:10])
    return None


def _size_class(facts: dict[str, Any]) -> SizeClass:
    """Return the queue by the size of the curated model, copies included, and of the map."""
    voxels = math.prod(facts["map"]["dims"])
    large = facts["atoms"] > settings.CERES_LARGE_ATOMS or voxels > settings.CERES_LARGE_VOXELS
    return SizeClass.LARGE if large else SizeClass.SMALL


def _pack_model(source: Path, target: Path) -> None:
    """Copy an mmCIF model, gzipped, without a date in it."""
    temporary = target.with_name(f"{target.name}.part")
    opener = gzip.open if source.name.endswith(".gz") else open
    with (
        opener(source, "rb") as plain,
        temporary.open("wb") as raw,
        gzip.GzipFile(filename="", mode="wb", fileobj=raw, mtime=0) as packed,
    ):
        shutil.copyfileobj(plain, packed)
    temporary.replace(target)
