"""Threads are shared out among processes, and every process has one."""

import pytest

from rangefinder.config import ComputeParams
from rangefinder.models.device import beside_workers, shared


@pytest.mark.parametrize(("processes", "threads", "workers"), [(1, 8, 5), (3, 2, 1), (9, 1, 0)])
def test_processes_side_by_side_share_threads_and_workers(processes, threads, workers):
    found = shared(ComputeParams(threads=8, workers=5), processes)
    assert (found.threads, found.workers) == (threads, workers)


@pytest.mark.parametrize(("workers", "left"), [(0, 4), (1, 3), (4, 1), (7, 1)])
def test_workers_leave_the_other_threads(workers, left):
    assert beside_workers(ComputeParams(threads=4, workers=workers)).threads == left
