"""Tables of the service: what exists, what is to be done, and what came out."""

from __future__ import annotations

from ceres.models.archive import Entry
from ceres.models.jobs import Job, JobQuerySet, Run, SizeClass, Stage, State
from ceres.models.results import (
    HEADLINE_METRICS,
    METRIC_KEYS,
    Artifact,
    ArtifactKind,
    ImmutableError,
    Result,
    Verdict,
    metric_column,
)

__all__ = [
    "HEADLINE_METRICS",
    "METRIC_KEYS",
    "Artifact",
    "ArtifactKind",
    "Entry",
    "ImmutableError",
    "Job",
    "JobQuerySet",
    "Result",
    "Run",
    "SizeClass",
    "Stage",
    "State",
    "Verdict",
    "metric_column",
]
