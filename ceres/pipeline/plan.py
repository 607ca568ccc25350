"""Make a run: one job for every pair that the archive holds."""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from django.db import transaction

from ceres.models import Entry, Job, Run
from ceres.pipeline.sources import open_archive
from curation.holdings import list_pairs
from refinement import __version__
from refinement.errors import InputError
from refinement.settings import settings_for

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence

    from curation.identifiers import Pair

    ListingProgress = Callable[[str, int, int], None]

LABEL = re.compile(r"\d{4}-\d{2}(?:-[a-z0-9]+)*")
BATCH = 1000


class RunDiffersError(InputError):
    """There is a run of this name that was begun with another engine, other settings or another archive."""


@dataclass(frozen=True, slots=True)
class Planned:
    """What planning did: the run, the pairs found, and the jobs that are new."""

    run: Run
    pairs: int
    new: int


def plan_run(
    label: str,
    *,
    archive: str,
    kind: str = "monthly",
    strict: bool = False,
    protocol: str = "default",
    seed: int = 0,
    only: Collection[str] = (),
    progress: ListingProgress | None = None,
) -> Planned:
    """Make a run, or add to it the pairs that are new in the archive.

    Pairs that have half-maps are cross-validated: nobody waits for a run, and whoever reads its results wants to know
    how much of the fit is fit to noise.

    Parameters
    ----------
    label : str
        Name of the run, ``2026-11``.
    archive : str
        Folder or URL of the archive.
    kind : str
        ``monthly``, ``weekly``, ...
    strict : bool
        Curate with the rules of 2020 taken literally.
    protocol : str
        Protocol of the engine.
    seed : int
        Seed of the engine.
    only : collection of str
        Keys of the pairs to take; all if empty.
    progress : callable, optional
        Told what is being read, how many files are done and how many there are.

    Raises
    ------
    InputError
        If the label can't be used or a pair of `only` doesn't exist.
    RunDiffersError
        If the run was begun with another engine, other settings or another archive.
    """
    if not LABEL.fullmatch(label):
        message = f"{label!r} can't be the label of a run."
        raise InputError("run_label_invalid", message, "Labels look like 2026-11 or 2026-11-test.")
    pairs = _listed(archive, only, progress)
    wanted = {"protocol": protocol, "seed": seed, "cross_validate": True}
    wanted["engine"] = settings_for(protocol).model_dump(mode="json")
    with transaction.atomic():
        run = _run(label, archive=archive, kind=kind, strict=strict, wanted=wanted)
        before = run.jobs.count()
        for start in range(0, len(pairs), BATCH):
            _add_jobs(run, archive, pairs[start : start + BATCH])
        return Planned(run, len(pairs), run.jobs.count() - before)


def _listed(archive: str, only: Collection[str], progress: ListingProgress | None) -> list[Pair]:
    with open_archive(archive) as opened:
        pairs = list_pairs(opened, progress=progress)
    if not only:
        return pairs
    missing = sorted(set(only) - {pair.key for pair in pairs})
    if missing:
        message = f"{archive} has no {', '.join(missing)}."
        raise InputError("pair_unknown", message, "Pairs are written like 6udk_20740.")
    return [pair for pair in pairs if pair.key in set(only)]


def _run(label: str, *, archive: str, kind: str, strict: bool, wanted: dict[str, Any]) -> Run:
    digest = hashlib.sha256(json.dumps({**wanted, "strict": strict}, sort_keys=True).encode()).hexdigest()
    made = {
        "kind": kind,
        "engine_version": __version__,
        "settings": wanted,
        "settings_hash": digest,
        "archive": archive,
        "strict": strict,
    }
    run, _ = Run.objects.get_or_create(label=label, defaults=made)
    if (run.settings_hash, run.engine_version, run.archive) != (digest, __version__, archive):
        message = (
            f"The run {label} was begun with engine {run.engine_version} and settings {run.settings_hash[:12]} on {run.archive}."
        )
        hint = f"Plan a new one, e.g. {label}-b, for engine {__version__} and {digest[:12]} on {archive}."
        raise RunDiffersError("run_differs", message, hint)
    return run


def _add_jobs(run: Run, archive: str, pairs: Sequence[Pair]) -> None:
    Entry.objects.bulk_create(
        [Entry(key=pair.key, pdb_id=pair.pdb_id, emdb_id=pair.emdb_id) for pair in pairs], ignore_conflicts=True
    )
    entries = Entry.objects.in_bulk([pair.key for pair in pairs], field_name="key")
    jobs = [_job(run, archive, pair, entries[pair.key]) for pair in pairs]
    Job.objects.bulk_create(jobs, ignore_conflicts=True)


def _job(run: Run, archive: str, pair: Pair, entry: Entry) -> Job:
    listing = {
        "declared_by": [str(side) for side in pair.declared_by],
        "unreleased": list(pair.unreleased),
        "fates": list(pair.fates),
    }
    return Job(run=run, entry=entry, archive=archive, listing=listing)
