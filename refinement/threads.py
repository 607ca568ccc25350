"""Work that is shared among threads, with results that don't depend on how many there are."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from itertools import pairwise
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    Result = TypeVar("Result")


def processors(threads: int | None) -> int:
    """Return how many threads to use: as many as were asked for, else as many as this process may have processors."""
    return threads or len(os.sched_getaffinity(0))


def in_parts(threads: int, size: int, work: Callable[[int, int], None]) -> None:
    """Call work(first, end) for parts of 0 … size, each in a thread of its own.

    Parameters
    ----------
    threads : int
        Parts to make.
    size : int
        How much there is to do.
    work : callable
        What it writes for an item mustn't depend on where its part begins and ends.
    """
    threads = max(1, min(threads, size))
    if threads == 1:
        work(0, size)
        return
    edges = [size * part // threads for part in range(threads + 1)]
    with ThreadPoolExecutor(threads - 1) as pool:
        pending = [pool.submit(work, first, end) for first, end in pairwise(edges[1:])]
        work(0, edges[1])
        for one in pending:
            one.result()


def in_order(threads: int, works: Sequence[Callable[[], Result]], *, longest: Sequence[int] = ()) -> Iterator[Result]:
    """Yield what each of `works` returns, in their order, while others are at work in other threads.

    Parameters
    ----------
    threads : int
        How many are at work at once; with one thread each is called when its result is due.
    works : sequence of callable
        None may need the result of another.
    longest : sequence of int
        Those that take longest; they are begun first.

    Raises
    ------
    Exception
        What the first of them (in their order) raises; those that haven't begun then never do.
    """
    if threads == 1:
        for work in works:
            yield work()
        return
    pool = ThreadPoolExecutor(threads)
    try:
        begun = {k: pool.submit(works[k]) for k in dict.fromkeys([*longest, *range(len(works))])}
        for k in range(len(works)):
            yield begun[k].result()
    finally:
        pool.shutdown(cancel_futures=True)


@contextmanager
def beside(threads: int, work: Callable[[], Result]) -> Iterator[Callable[[], Result]]:
    """Give a function that returns what `work` returns, which is at it in another thread while the block runs.

    Parameters
    ----------
    threads : int
        With one thread `work` is called when its result is asked for.
    work : callable
        What is to be done.
    """
    if threads == 1:
        yield work
        return
    pool = ThreadPoolExecutor(1)
    try:
        yield pool.submit(work).result
    finally:
        pool.shutdown(cancel_futures=True)
