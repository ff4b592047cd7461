"""Worker processes: results in order, explained deaths, and no process left behind."""

from __future__ import annotations

import multiprocessing
import os
import time

import pytest

from rangefinder.common.compute import ordered_map, worker_pool
from rangefinder.errors import WorkerError


def test_results_come_in_order():
    with worker_pool(2, "captures.workers") as pool:
        assert list(ordered_map(pool, abs, range(-9, 0), 2)) == [*range(9, 0, -1)]


def test_a_killed_worker_is_explained():
    with (
        pytest.raises(WorkerError, match=r"captures\.workers"),
        worker_pool(1, "captures.workers") as pool,
    ):
        list(ordered_map(pool, os._exit, [9], 1))


def fail(error: type[BaseException]) -> None:
    with worker_pool(1, "captures.workers") as pool:
        pool.submit(os.getpid).result()
        pool.submit(time.sleep, 3600)
        raise error


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_workers_are_ended_when_the_caller_fails(error):
    before = set(multiprocessing.active_children())
    with pytest.raises(error):
        fail(error)
    assert set(multiprocessing.active_children()) == before
