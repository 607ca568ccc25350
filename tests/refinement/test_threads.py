"""Work in threads: in order, once each, and with its errors."""

from __future__ import annotations

import os
import threading
from typing import NoReturn

import numpy as np
import pytest

from refinement.threads import beside, in_order, in_parts, processors


@pytest.mark.parametrize("threads", [1, 2, 3, 50])
def test_parts_cover_everything_once(threads: int) -> None:
    done = np.zeros(17, dtype=int)

    def work(first: int, end: int) -> None:
        done[first:end] += 1

    in_parts(threads, len(done), work)
    assert (done == 1).all()
    in_parts(threads, 0, work)


@pytest.mark.parametrize("threads", [1, 2, 4])
def test_results_come_in_order_whatever_is_begun_first(threads: int) -> None:
    begun: list[int] = []

    def work(number: int) -> int:
        begun.append(number)
        return number**2

    assert list(in_order(threads, [lambda k=k: work(k) for k in range(6)], longest=[4, 2])) == [0, 1, 4, 9, 16, 25]
    assert sorted(begun) == list(range(6))
    assert begun[0] == (0 if threads == 1 else 4)


def fail() -> NoReturn:
    message = "no"
    raise ValueError(message)


@pytest.mark.parametrize("threads", [1, 2])
def test_an_error_is_raised_when_its_result_is_due(threads: int) -> None:
    results = in_order(threads, [lambda: 1, fail, lambda: 3])
    assert next(results) == 1
    with pytest.raises(ValueError, match="no"):
        next(results)
    with pytest.raises(ValueError, match="no"), beside(threads, fail) as result:
        result()


def test_beside_works_in_another_thread_and_with_one_thread_in_this() -> None:
    for threads, here in ((1, True), (2, False)):
        with beside(threads, threading.get_ident) as result:
            assert (result() == threading.get_ident()) is here


def test_processors() -> None:
    assert processors(3) == 3
    assert processors(None) == len(os.sched_getaffinity(0))
