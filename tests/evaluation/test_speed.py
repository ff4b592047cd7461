"""Timing, counting of work, and what is made of it."""

from __future__ import annotations

import time

import pytest
import torch

from rangefinder.evaluation.speed import (
    DENSE,
    PATCH_LOOP,
    STUDENT,
    Case,
    Setting,
    exponent,
    frames_per_s,
    ratios,
)
from rangefinder.evaluation.timing import Effort, Timing, clock, clock_in_turns, peak_bytes, threads
from rangefinder.evaluation.work import multiply_adds

PHOTO = (480, 360)


def case(method, stride_px, seconds, threads_used=2):
    timing = Timing(seconds, seconds, seconds, 3)
    setting = Setting(method, PHOTO, stride_px, threads_used)
    return Case(setting, timing, False, 100, 0.5, None)


def test_what_is_slow_is_called_once_a_turn_after_two_calls_to_warm_up():
    calls = []

    def slow():
        calls.append(0)
        time.sleep(0.2)

    timing = clock(slow, Effort(least=3, most=5, seconds=60.0))
    assert timing.repeats == 5
    assert len(calls) == 7
    assert clock(slow, Effort(least=4, most=9, seconds=0.0)).repeats == 4


def test_what_is_timed_together_takes_turns():
    calls = []

    def work(name, seconds):
        calls.append(name)
        time.sleep(seconds)

    works = {"slow": lambda: work("slow", 0.2), "quick": lambda: work("quick", 0.05)}
    timings = clock_in_turns(works, Effort(least=2, most=2, seconds=60.0))
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


def test_multiply_adds_of_a_convolution_in_inference_are_those_of_the_textbook():
    conv = torch.nn.Conv2d(3, 8, 5, stride=2, bias=False)
    with torch.inference_mode():
        counted = multiply_adds(lambda: conv(torch.zeros(1, 3, 21, 21)))
    assert counted == 3 * 8 * 5 * 5 * 9 * 9


def test_peak_memory_sees_what_is_freed_again():
    def work():
        torch.ones(2**24).sum()  # 64 MiB

    peak = peak_bytes(work)
    if peak is None:
        pytest.skip("this system does not tell the peak of memory")
    assert 60 * 2**20 < peak < 100 * 2**20


def test_threads_are_put_back():
    before = torch.get_num_threads()
    with threads(before + 1):
        assert torch.get_num_threads() == before + 1
    assert torch.get_num_threads() == before


def test_ratios_are_time_of_the_second_by_time_of_the_first():
    cases = [
        case(PATCH_LOOP, 4, 8.0),
        case(DENSE, 4, 0.2),
        case(STUDENT, None, 0.05),
        case(STUDENT, None, 0.5, threads_used=1),
    ]
    epochs = {"cached": 2.0, "fixed": 1.9, "online_loop": 30.0, "online_dense": 4.0}
    found = ratios(cases, PHOTO, 2, epochs)
    assert found["dense_vs_patch_loop_stride4"] == pytest.approx(40)
    assert found["student_vs_dense_stride4"] == pytest.approx(4)
    assert found["student_vs_patch_loop_stride4"] == pytest.approx(160)
    assert found["cached_epoch_vs_online_loop_epoch"] == pytest.approx(15)
    assert found["cached_epoch_vs_online_dense_epoch"] == pytest.approx(2)
    assert found["fixed_target_epoch_vs_cached_epoch"] == pytest.approx(2 / 1.9)
    assert found["dense_vs_monai_stride4"] is None
    assert found["dense_vs_patch_loop_stride1"] is None
    assert frames_per_s(cases, 2) == pytest.approx(20)
    assert frames_per_s(cases[:2], 2) is None


def test_exponent_of_a_linear_cost_is_one():
    points = [{"megapixels": m, "seconds": 0.3 * m} for m in (0.1, 1.0, 10.0)]
    assert exponent(points) == pytest.approx(1.0)
    assert exponent(points[:1]) is None
