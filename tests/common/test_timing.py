"""Timing in turns, and the peak of a process's memory."""

from __future__ import annotations

import time

import numpy as np
import pytest

from rangefinder.common.timing import (
    Effort,
    Timing,
    peak_memory_bytes,
    reset_peak_memory,
    time_in_turns,
)


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


def test_the_peak_of_memory_is_forgotten_when_it_is_reset():
    if not reset_peak_memory():
        pytest.skip("this system does not forget a peak")
    held = peak_memory_bytes()
    np.ones(2**23).sum()  # 64 MiB, freed again
    assert peak_memory_bytes() - held > 50 * 2**20
    reset_peak_memory()
    assert peak_memory_bytes() - held < 30 * 2**20
