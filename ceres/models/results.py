"""What came out: one immutable row per published job, with a typed column for every metric."""

from __future__ import annotations

from typing import Any, NoReturn

from django.db import models

from ceres.models.archive import Entry
from ceres.models.jobs import Job, Run
from refinement.validation import registry

METRIC_KEYS: tuple[str, ...] = tuple(
    key
    for metric in registry.METRICS
    for key in ([metric.key, f"{metric.key}_masked"] if metric.key in registry.MASKED_TWINS else [metric.key])
)
"""Keys of all metrics in the order of the registry, masked twins behind their metric."""

HEADLINE_METRICS: tuple[str, ...] = (
    "resolution",
    "cc_mask",
    "cc_box",
    "q_score",
    "clashscore",
    "rama_outliers",
    "rotamer_outliers",
    "molprobity_score",
)
"""Metrics by which the table is often sorted: they have an index."""


def metric_column(state: str, key: str) -> str:
    """Return the column of a metric; `state` is ``initial`` or ``refined``."""
    return f"{state}_{key}"


class ImmutableError(Exception):
    """A published result can't be changed; a new run makes a new one."""


class Verdict(models.TextChoices):
    """What refinement did to the model as a whole."""

    IMPROVED = "improved"
    MIXED = "mixed"
    WORSE = "worse"
    UNCHANGED = "unchanged"


class ArtifactKind(models.TextChoices):
    """Files of a result."""

    REFINED_MODEL = "refined_model"
    INITIAL_MODEL = "initial_model"
    TABLE_ONE = "table_one"
    RESIDUES = "residues"
    BOXED_MAP = "boxed_map"
    CHANGES = "changes"
    CURVES = "curves"
    LOG_JSON = "log_json"
    LOG_TEXT = "log_text"
    MANIFEST = "manifest"


class PublishedQuerySet(models.QuerySet[Any]):
    """Rows that are written once."""

    def update(self, **_: Any) -> NoReturn:
        """Refuse: published rows don't change."""
        message = "Published rows can't be updated."
        raise ImmutableError(message)

    def delete(self) -> NoReturn:
        """Refuse: published rows stay."""
        message = "Published rows can't be deleted."
        raise ImmutableError(message)


class Published(models.Model):
    """A row that is written once."""

    objects = PublishedQuerySet.as_manager()

    class Meta:
        abstract = True

    def save(self, *args: Any, **kwargs: Any) -> None:
        """Write the row, if it is new."""
        if not self._state.adding:
            message = f"{self} is published and can't be changed."
            raise ImmutableError(message)
        super().save(*args, **kwargs)

    def delete(self, *_args: Any, **_kwargs: Any) -> NoReturn:
        """Refuse: published rows stay."""
        message = f"{self} is published and can't be deleted."
        raise ImmutableError(message)


class Result(Published):
    """Table 1 of an entry before and after refinement, and where it came from.

    The columns ``initial_<key>`` and ``refined_<key>`` are made from the registry of metrics; NULL
    means that there is no value, and `reasons` says why.
    """

    job = models.OneToOneField(Job, on_delete=models.PROTECT, related_name="result")
    entry = models.ForeignKey(Entry, on_delete=models.PROTECT, related_name="results")
    run = models.ForeignKey(Run, on_delete=models.PROTECT, related_name="results")
    verdict = models.CharField(max_length=16, choices=Verdict.choices)
    better = models.PositiveSmallIntegerField(help_text="metrics that became better")
    worse = models.PositiveSmallIntegerField(help_text="metrics that became worse")
    compared = models.PositiveSmallIntegerField(help_text="metrics with a direction and two values")
    reasons = models.JSONField(default=dict, help_text="why a metric has no value: key and code")
    findings = models.JSONField(default=list)
    inputs = models.JSONField(default=dict, help_text="names, sizes and SHA-256 of the files")
    settings = models.JSONField(default=dict)
    versions = models.JSONField(default=dict)
    timings = models.JSONField(default=dict, help_text="seconds")
    refinement = models.JSONField(default=dict, help_text="cycles, the choice among them, and the first changes")
    published_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ["-published_at", "-id"]
        indexes = [
            models.Index(fields=["entry", "run"]),
            *(
                models.Index(fields=["run", metric_column("refined", key), "id"], name=f"result_by_{key}")
                for key in HEADLINE_METRICS
            ),
        ]

    def __str__(self) -> str:
        return f"Result of {self.entry} in {self.run}"

    def value(self, state: str, key: str) -> float | None:
        """Return the value of a metric; `state` is ``initial`` or ``refined``."""
        number: float | None = getattr(self, metric_column(state, key))
        return number


for _state in ("initial", "refined"):
    for _key in METRIC_KEYS:
        _field: models.FloatField[Any, Any] = models.FloatField(null=True, blank=True)
        _field.contribute_to_class(Result, metric_column(_state, _key))


class Artifact(Published):
    """A file of a result in the artifact storage."""

    result = models.ForeignKey(Result, on_delete=models.PROTECT, related_name="artifacts")
    kind = models.CharField(max_length=16, choices=ArtifactKind.choices)
    storage_key = models.TextField(unique=True)
    sha256 = models.CharField(max_length=64)
    size = models.PositiveBigIntegerField(help_text="bytes")

    class Meta:
        ordering = ["id"]
        constraints = [models.UniqueConstraint(fields=["result", "kind"], name="one_artifact_of_a_kind")]

    def __str__(self) -> str:
        return self.storage_key

    @property
    def file_name(self) -> str:
        """The last part of the storage key."""
        return self.storage_key.rpartition("/")[2]
