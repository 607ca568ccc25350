"""Let a caller in the same process see what the stages are doing."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ceres.models import Job

Listener = Callable[["Job", str, float], None]
"""Told about progress: the job, what its stage is doing, fraction of the stage (0 to 1)."""

_listener: ContextVar[Listener | None] = ContextVar("listener", default=None)


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
