"""The benchmark's report: ratios of times, and the growth of time with the photo."""

from __future__ import annotations

import pytest

from rangefinder.common.timing import Timing
from rangefinder.studies.benchmark.report import (
    DENSE,
    PATCH_LOOP,
    STUDENT,
    Case,
    Setting,
    exponent,
    frames_per_s,
    ratios,
)

PHOTO = (480, 360)


def case(method, stride_px, seconds, threads_used=2):
    timing = Timing(seconds, seconds, seconds, 3)
    setting = Setting(method, PHOTO, stride_px, threads_used)
    return Case(setting, timing, False, 100, 0.5, None)


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
