"""What is to be done: runs, and one job per entry and run. The job table is the queue."""

from __future__ import annotations

from typing import TYPE_CHECKING

from django.db import models
from django.db.models import Q

from ceres.models.archive import Entry

if TYPE_CHECKING:
    from datetime import datetime


class Stage(models.TextChoices):
    """Steps of a job, in their order."""

    FETCH = "fetch"
    CURATE = "curate"
    REFINE = "refine"
    VALIDATE = "validate"
    PUBLISH = "publish"


class State(models.TextChoices):
    """Where a job stands."""

    WAITING = "waiting"
    WORKING = "working"
    PUBLISHED = "published"
    REFUSED = "refused"
    FAILED = "failed"


class SizeClass(models.TextChoices):
    """Which queue a job belongs to."""

    SMALL = "small"
    LARGE = "large"


class Run(models.Model):
    """One pass over the archive with one engine and one set of settings."""

    label = models.SlugField(max_length=64, unique=True, help_text="2026-11")
    kind = models.CharField(max_length=16, default="monthly")
    engine_version = models.CharField(max_length=64)
    settings = models.JSONField(default=dict)
    settings_hash = models.CharField(max_length=64)
    archive = models.TextField()
    strict = models.BooleanField(default=False)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ["-created_at", "-id"]

    def __str__(self) -> str:
        return self.label


class JobQuerySet(models.QuerySet["Job"]):
    """Questions about jobs."""

    def due(self, now: datetime) -> JobQuerySet:
        """Jobs that a worker may take now: waiting and not put off."""
        return self.filter(Q(not_before__isnull=True) | Q(not_before__lte=now), state=State.WAITING)

    def expired(self, now: datetime) -> JobQuerySet:
        """Jobs whose worker no longer renews its lease."""
        return self.filter(state=State.WORKING, lease_until__lt=now)

    def unfinished(self) -> JobQuerySet:
        """Jobs that aren't published, refused or failed."""
        return self.filter(state__in=[State.WAITING, State.WORKING])


class Job(models.Model):
    """The way of one entry through one run."""

    entry = models.ForeignKey(Entry, on_delete=models.PROTECT, related_name="jobs")
    run = models.ForeignKey(Run, on_delete=models.PROTECT, related_name="jobs")
    archive = models.TextField(help_text="where this job takes its files from")
    listing = models.JSONField(default=dict, blank=True, help_text="what the archive's lists say about the pair")
    stage = models.CharField(max_length=16, choices=Stage.choices, default=Stage.FETCH)
    state = models.CharField(max_length=16, choices=State.choices, default=State.WAITING)
    size_class = models.CharField(max_length=8, choices=SizeClass.choices, default=SizeClass.SMALL)
    attempt = models.PositiveSmallIntegerField(default=0, help_text="tries of the present stage")
    restarts = models.PositiveSmallIntegerField(default=0, help_text="times that it had to start again")
    lease_owner = models.CharField(max_length=64, blank=True, default="")
    lease_until = models.DateTimeField(null=True, blank=True)
    not_before = models.DateTimeField(null=True, blank=True)
    queued_at = models.DateTimeField(null=True, blank=True, help_text="when a message for it was sent last")
    code = models.CharField(max_length=64, blank=True, default="", help_text="why it was refused or failed")
    message = models.TextField(blank=True, default="")
    hint = models.TextField(blank=True, default="")
    findings = models.JSONField(default=list, blank=True)
    timings = models.JSONField(default=dict, blank=True, help_text="seconds of each stage")
    doing = models.TextField(blank=True, default="")
    fraction = models.FloatField(default=0.0)
    created_at = models.DateTimeField(auto_now_add=True)
    updated_at = models.DateTimeField(auto_now=True)

    objects = JobQuerySet.as_manager()

    class Meta:
        ordering = ["id"]
        indexes = [
            models.Index(fields=["state", "not_before"]),
            models.Index(fields=["run", "state"]),
        ]
        constraints = [
            models.UniqueConstraint(fields=["entry", "run"], name="one_job_per_entry_and_run"),
            models.CheckConstraint(
                name="work_needs_a_lease",
                condition=~Q(state=State.WORKING) | Q(lease_until__isnull=False) & ~Q(lease_owner=""),
            ),
            models.CheckConstraint(
                name="an_end_without_result_has_a_code",
                condition=~Q(state__in=[State.REFUSED, State.FAILED]) | ~Q(code=""),
            ),
        ]

    def __str__(self) -> str:
        return f"{self.entry} in {self.run}"

    @property
    def shown_state(self) -> str:
        """State for people: ``published``, ``refused``, ``failed``, or the stage that the job is in."""
        return str(self.stage if self.state in {State.WAITING, State.WORKING} else self.state)
