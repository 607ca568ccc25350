"""Let a caller in the same process see what the stages are doing."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ceres.models import Job
    from ceres.pipeline.outcome import Progress

Listener = Callable[["Job", str, float], None]
"""Told about progress: the job, what its stage is doing, fraction of the stage (0 to 1)."""

_listener: ContextVar[Listener | None] = ContextVar("listener", default=None)


ENGINE_STEPS = (("read", 0.0), ("refine", 0.1), ("validate", 0.9), ("write", 0.97))
"""Steps of the engine in their order and where they begin, as fractions of the stage."""
CROSS_VALIDATED_STEPS = (("read", 0.0), ("refine", 0.06), ("validate", 0.48), ("cross-validate", 0.52), ("write", 0.97))
"""The same where the model is refined a second time, into one half-map, which takes as long."""


class EngineProgress:
    """Makes one fraction that only grows out of the fractions of the engine's steps.

    Parameters
    ----------
    progress : Progress
        Takes the stage, what is being done and the fraction.
    stage : str
        The stage of the job.
    cross_validating : bool
        Whether the model is also refined into one half-map.
    """

    def __init__(self, progress: Progress, stage: str, *, cross_validating: bool = False) -> None:
        self._progress, self._stage = progress, stage
        self._steps = CROSS_VALIDATED_STEPS if cross_validating else ENGINE_STEPS
        self._step = 0

    def __call__(self, step: str, doing: str, fraction: float) -> None:
        """Take a report of the engine."""
        ahead = (place for place in range(self._step, len(self._steps)) if self._steps[place][0] == step)
        self._step = next(ahead, self._step)
        begin = self._steps[self._step][1]
        end = self._steps[self._step + 1][1] if self._step + 1 < len(self._steps) else 1.0
        if step == "cross-validate":
            doing = f"half-map 1: {doing}"
        self._progress(self._stage, doing, begin + (end - begin) * min(max(fraction, 0.0), 1.0))


@contextmanager
def listening(listener: Listener) -> Iterator[None]:
    """Send the progress of the jobs that are worked on inside the block to `listener`."""
    token = _listener.set(listener)
    try:
        yield
    finally:
        _listener.reset(token)


def current() -> Listener | None:
    """Return who listens."""
    return _listener.get()
