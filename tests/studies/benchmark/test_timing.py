"""Timing in turns, counting of multiply-adds, and peak memory."""

from __future__ import annotations

import time

import pytest
import torch

from rangefinder.studies.benchmark.timing import (
    Effort,
    Timing,
    multiply_adds,
    peak_bytes,
    threads,
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


def test_multiply_adds_of_a_convolution_in_inference_are_those_of_its_formula():
    conv = torch.nn.Conv2d(3, 8, 5, stride=2, bias=False)
    with torch.inference_mode():
        counted = multiply_adds(lambda: conv(torch.zeros(1, 3, 21, 21)))
    assert counted == 3 * 8 * 5 * 5 * 9 * 9


def test_peak_memory_includes_what_is_freed_again():
    def work():
        torch.ones(2**24).sum()  # 64 MiB

    peak = peak_bytes(work)
    if peak is None:
        pytest.skip("this system does not report peak memory")
    assert 60 * 2**20 < peak < 100 * 2**20


def test_the_number_of_threads_is_restored():
    before = torch.get_num_threads()
    with threads(before + 1):
        assert torch.get_num_threads() == before + 1
    assert torch.get_num_threads() == before
