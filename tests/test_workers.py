"""Worker processes: the order of results, and what becomes of them when something goes wrong."""

from __future__ import annotations

import multiprocessing
import os
import time

import pytest

from rangefinder.errors import WorkerError
from rangefinder.workers import ordered_map, worker_pool


def test_results_come_in_order():
    with worker_pool(2, "captures.workers") as pool:
        assert list(ordered_map(pool, abs, range(-9, 0), 2)) == [*range(9, 0, -1)]


def test_a_killed_worker_is_explained():
    with (
        pytest.raises(WorkerError, match=r"captures\.workers"),
        worker_pool(1, "captures.workers") as pool,
    ):
        list(ordered_map(pool, os._exit, [9], 1))


def give_up(error: type[BaseException]) -> None:
    with worker_pool(1, "captures.workers") as pool:
        pool.submit(os.getpid).result()
        pool.submit(time.sleep, 3600)
        raise error


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_nobody_waits_for_work_that_nobody_wants_any_more(error):
    before = set(multiprocessing.active_children())
    with pytest.raises(error):
        give_up(error)
    assert set(multiprocessing.active_children()) == before
