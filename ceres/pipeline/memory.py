"""The memory that a refinement may take: too large beforehand, or grown too large on the way.

The engine works in the worker's process, where the kernel would end both. A refinement that comes to the limit ends as a
failed job with its numbers instead, and the worker goes on. Between two reports of the engine it can still overshoot;
the limit leaves room for that.
"""

from __future__ import annotations

import math
import os
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from django.conf import settings

from ceres.pipeline.faults import MEMORY_LIMIT
from refinement.errors import CeresError, MapError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from ceres.pipeline.outcome import Progress

GB = 10**9
SHARE = 0.85
"""Of the memory of the machine or the container, where no limit is set."""
BYTES_PER_VOXEL, BYTES_PER_HALF_MAP_VOXEL = 8, 4
"""What the maps take at least: the primary map and its coefficients, and each half-map (docs/benchmarks.md)."""
CONTAINER = (Path("/sys/fs/cgroup/memory.max"), Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"))


class MemoryLimitError(CeresError):
    """A refinement needs more memory than it may have."""

    def __init__(self, what: str, needed: float, allowed: float) -> None:
        message = f"{what} {needed / GB:.1f} GB of memory; a refinement may take {allowed / GB:.1f} GB."
        super().__init__(MEMORY_LIMIT, message, "Run it on a machine with more memory, or raise CERES_MEMORY_GB.")


def limit() -> float:
    """Return how many bytes a worker may take: as set, or a share of what the machine or the container has."""
    if settings.CERES_MEMORY_GB:
        return settings.CERES_MEMORY_GB * float(GB)
    there = [float(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"))]
    for path in CONTAINER:
        try:
            text = path.read_text(encoding="ascii").strip()
        except OSError:
            continue
        if text.isdigit():
            there.append(float(text))
    return SHARE * min(there)


def resident() -> float:
    """Return the bytes that this process has in memory, 0 where the system doesn't say."""
    try:
        pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    except OSError:
        return 0.0
    return float(pages * os.sysconf("SC_PAGE_SIZE"))


def require_room(density: Path, half_maps: Sequence[Path]) -> None:
    """Look at the headers of maps before anything is read; what can't be read is left for the engine to explain.

    Raises
    ------
    MemoryLimitError
        If the maps alone take more than the limit.
    """
    from refinement.maps.density import read_map_header  # loads the compiled kernels, which only workers need

    needed, allowed = 0.0, limit()
    sizes = [(density, BYTES_PER_VOXEL), *((half, BYTES_PER_HALF_MAP_VOXEL) for half in half_maps)]
    for path, size in sizes:
        with suppress(MapError):
            needed += math.prod(read_map_header(path).n) * size
    if needed > allowed:
        what = f"{density.name} and its half-maps take at least" if half_maps else f"{density.name} takes at least"
        raise MemoryLimitError(what, needed, allowed)


@contextmanager
def bounded() -> Iterator[None]:
    """Make a `MemoryLimitError` of an allocation that the system refused."""
    try:
        yield
    except MemoryError as fault:
        raise MemoryLimitError("The system refused more than", resident(), limit()) from fault


def watched(progress: Progress) -> Progress:
    """Return a progress callback that ends the work with a `MemoryLimitError` when the process has grown too large."""
    allowed = limit()

    def report(step: str, doing: str, fraction: float) -> None:
        taken = resident()
        if taken > allowed:
            what = f"At “{doing}” the worker had"
            raise MemoryLimitError(what, taken, allowed)
        progress(step, doing, fraction)

    return report
