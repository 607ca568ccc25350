"""What the pages ask the database: one object or query set for each page."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from django.db.models import Count, F, Max, Q, QuerySet

from ceres.models import Artifact, Entry, Job, Result, Run, State, Verdict, metric_column
from curation.identifiers import EmdbQuery, PairQuery, parse_query

if TYPE_CHECKING:
    from ceres.models import JobQuerySet

ENDED = (State.PUBLISHED, State.REFUSED, State.FAILED)
WITHOUT_RESULT = (State.REFUSED, State.FAILED)


def latest_jobs() -> JobQuerySet:
    """Return one job per entry: that of its published result, else its last one."""
    last = Job.objects.filter(entry__latest_result__isnull=True).order_by().values("entry").annotate(last=Max("id"))
    published = Q(result__id=F("entry__latest_result_id"))
    return Job.objects.filter(published | Q(entry__latest_result__isnull=True, id__in=last.values("last")))


def jobs_of(run: str) -> JobQuerySet:
    """Return the jobs of a run, or of the latest state of every entry for ``""``."""
    jobs = Job.objects.filter(run__label=run) if run else latest_jobs()
    return jobs.select_related("entry", "run")


def runs() -> QuerySet[Run]:
    """Return all runs, the newest first."""
    return Run.objects.only("id", "label")


def search(text: str) -> list[Entry]:
    """Return the entries that a search text names, in any spelling of PDB and EMDB codes."""
    wanted = Q()
    for query in parse_query(text):
        if isinstance(query, PairQuery):
            wanted |= Q(pdb_id=query.pdb_id, emdb_id=query.emdb_id)
        elif isinstance(query, EmdbQuery):
            wanted |= Q(emdb_id=query.emdb_id)
        else:
            wanted |= Q(pdb_id=query.pdb_id)
    return list(Entry.objects.filter(wanted).select_related("latest_result")) if wanted else []


@dataclass(frozen=True)
class HomePage:
    """Counts of the latest states, and the results published last."""

    shown: int = 6

    @cached_property
    def counts(self) -> dict[str, int]:
        """Entries by state; ``in_progress`` for those that are on their way."""
        rows = latest_jobs().order_by().values_list("state").annotate(count=Count("id"))
        counts = dict.fromkeys([*ENDED, "in_progress"], 0)
        for state, count in rows:
            counts[state if state in ENDED else "in_progress"] += count
        return counts

    @cached_property
    def verdicts(self) -> dict[str, int]:
        """Latest results by verdict."""
        rows = latest_results().order_by().values_list("verdict").annotate(count=Count("id"))
        return {verdict: dict(rows).get(verdict, 0) for verdict in Verdict.values}

    @property
    def published(self) -> int:
        """How many entries have a result."""
        return sum(self.verdicts.values())

    @cached_property
    def newest(self) -> list[Result]:
        """The results that were published last."""
        return list(latest_results().select_related("entry", "run").order_by("-id")[: self.shown])

    def before_and_after(self, key: str) -> QuerySet[Result, tuple[str, float, float]]:
        """Entry key, deposited and refined value of a metric, for all latest results that have both."""
        before, after = metric_column("initial", key), metric_column("refined", key)
        rows = latest_results().exclude(Q(**{before: None}) | Q(**{after: None})).order_by("entry__key")
        return rows.values_list("entry__key", before, after)


def latest_results() -> QuerySet[Result]:
    """Return the published result of every entry that has one."""
    return Result.objects.filter(entry__latest_result_id=F("id"))


@dataclass(frozen=True)
class EntryPage:
    """Everything that the page of an entry shows, for its latest state or for one run.

    Attributes
    ----------
    entry : Entry
        The pair.
    job : Job or None
        The job whose outcome is shown; None if nothing has been planned yet.
    result : Result or None
        The published result, if there is one.
    frozen : bool
        Whether this is the page of a run rather than that of the latest state.
    """

    entry: Entry
    job: Job | None
    result: Result | None
    frozen: bool

    @classmethod
    def latest(cls, key: str) -> EntryPage:
        """Return the page of an entry's latest state.

        Raises
        ------
        Entry.DoesNotExist
            If there is no such entry.
        """
        entry = Entry.objects.select_related("latest_result__job", "latest_result__run").get(key=key)
        result = entry.latest_result
        job = result.job if result else entry.jobs.select_related("run").order_by("-id").first()
        return cls(entry, job, result, frozen=False)

    @classmethod
    def of_run(cls, key: str, run: str) -> EntryPage:
        """Return the page of an entry in a run.

        Raises
        ------
        Job.DoesNotExist
            If that run doesn't have this entry.
        """
        job = Job.objects.select_related("entry", "run", "result").get(entry__key=key, run__label=run)
        return cls(job.entry, job, getattr(job, "result", None), frozen=True)

    @cached_property
    def runs(self) -> list[str]:
        """Labels of the runs that ended with this entry, the newest first."""
        return list(self.entry.jobs.filter(state__in=ENDED).order_by("-id").values_list("run__label", flat=True))

    @cached_property
    def siblings(self) -> list[Entry]:
        """Other pairs with the same model or the same map."""
        same = Q(emdb_id=self.entry.emdb_id)
        if self.entry.pdb_id:
            same |= Q(pdb_id=self.entry.pdb_id)
        return list(Entry.objects.filter(same).exclude(pk=self.entry.pk).only("key", "title")[:12])

    @cached_property
    def artifacts(self) -> dict[str, Artifact]:
        """Files of the result by kind."""
        return {} if self.result is None else {artifact.kind: artifact for artifact in self.result.artifacts.all()}

    @property
    def findings(self) -> list[dict[str, Any]]:
        """What curation found."""
        source = self.result or self.job
        return list(source.findings) if source else []

    @property
    def contour(self) -> float | None:
        """Contour level that the authors recommend, in the units of the map."""
        stated = (self.entry.facts.get("header") or {}).get("contour")
        used = self.result.settings.get("contour") if self.result else None
        return stated if used is None else used

    @property
    def newer_run(self) -> str:
        """Label of the latest result's run, where this page shows an older one."""
        latest = self.entry.latest_result
        return latest.run.label if self.frozen and latest and latest != self.result else ""


def excluded_by_reason(run: str) -> list[dict[str, Any]]:
    """Return counts of refused and failed jobs by state and code, the most frequent first."""
    rows = jobs_of(run).filter(state__in=WITHOUT_RESULT).order_by().values("state", "code").annotate(count=Count("id"))
    return sorted(map(dict, rows), key=lambda row: (-row["count"], row["state"], row["code"]))


def excluded_jobs(run: str, code: str) -> JobQuerySet:
    """Return the refused and failed jobs, of one code or of all for ``""``."""
    jobs = jobs_of(run).filter(state__in=WITHOUT_RESULT).order_by("code", "entry__key")
    return jobs.filter(code=code) if code else jobs
