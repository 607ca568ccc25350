"""What a stage works on, and what it answers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from ceres.models import Job, Stage, State

if TYPE_CHECKING:
    from pathlib import Path

Progress = Callable[[str, str, float], None]
"""Told what is going on: stage, what it is doing, fraction done (0 to 1)."""


@dataclass(frozen=True, slots=True)
class Work:
    """One stage of one job, as the worker holds it."""

    job: Job
    folder: Path
    progress: Progress


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """How a stage ended. It becomes one transaction.

    Attributes
    ----------
    state : State
        ``WAITING`` for more work, or one of the ends.
    stage : Stage or None
        The stage to go on with; None stays where it is.
    code, message, hint : str
        Why the job was refused or failed.
    job, entry : dict[str, Any]
        Columns to set.
    record : callable or None
        Further rows to write, in the same transaction.
    cleanup : callable or None
        Called at the end, whether the transaction came about or not.
    delay : float
        Seconds before the job may be taken again.
    """

    state: State = State.WAITING
    stage: Stage | None = None
    code: str = ""
    message: str = ""
    hint: str = ""
    job: dict[str, Any] = field(default_factory=dict)
    entry: dict[str, Any] = field(default_factory=dict)
    record: Callable[[], None] | None = None
    cleanup: Callable[[], None] | None = None
    delay: float = 0.0


class WorkMissingError(Exception):
    """The files of an earlier stage are gone: the job starts again."""


class LeaseLostError(Exception):
    """Somebody else holds the job now."""
