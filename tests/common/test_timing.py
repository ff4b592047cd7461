"""Timing in turns, and the peak of a process's memory."""

from __future__ import annotations

import subprocess
import sys
import time

import pytest

from rangefinder.common.timing import Effort, Timing, time_in_turns

from ..conftest import program_environment


def test_slow_work_is_called_once_a_turn_after_two_calls_to_warm_up():
    calls = []

    def slow():
        calls.append(0)
        time.sleep(0.2)

    timing = time_in_turns({"slow": slow}, Effort(min_turns=3, max_turns=5, seconds=60.0))["slow"]
    assert timing.repeats == 5
    assert len(calls) == 7
    short = Effort(min_turns=4, max_turns=9, seconds=0.0)
    assert time_in_turns({"slow": slow}, short)["slow"].repeats == 4


def test_works_are_timed_in_turns_and_quick_ones_more_often():
    calls = []

    def work(name, seconds):
        calls.append(name)
        time.sleep(seconds)

    works = {"slow": lambda: work("slow", 0.2), "quick": lambda: work("quick", 0.05)}
    timings = time_in_turns(works, Effort(min_turns=2, max_turns=2, seconds=60.0))
    turns = "".join(name[0] for name in calls[4:])
    assert turns.startswith("sq")
    assert turns.count("sq") == 2
    assert timings["slow"].repeats == 2
    assert timings["quick"].repeats == turns.count("q") > 2
    assert timings["quick"].seconds < timings["slow"].seconds


def test_a_timing_is_median_and_quartiles_and_scales():
    timing = Timing.of([1.0, 2.0, 3.0, 4.0, 50.0])
    assert (timing.low_s, timing.seconds, timing.high_s, timing.repeats) == (2.0, 3.0, 4.0, 5)
    assert timing.times(10).high_s == 40.0


ALLOCATE = """
import numpy as np
from rangefinder.common.timing import peak_memory_bytes, reset_peak_memory
if reset_peak_memory():
    held = peak_memory_bytes()
    np.ones(2**23).sum()  # 64 MiB, freed again
    allocated = peak_memory_bytes()
    reset_peak_memory()
    print(held, allocated, peak_memory_bytes())
"""


def test_the_peak_of_memory_is_forgotten_when_it_is_reset():
    """In a process of its own, which has no memory that the system might take back meanwhile."""
    told = subprocess.check_output(
        [sys.executable, "-c", ALLOCATE], text=True, env=program_environment()
    )
    if not told:
        pytest.skip("this system does not forget a peak")
    held, allocated, afterwards = map(int, told.split())
    assert allocated - held > 50 * 2**20
    assert afterwards - held < 30 * 2**20
