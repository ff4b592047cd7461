"""Distances for people: units, digits and round numbers from 5 cm to 500 m."""

from __future__ import annotations

import pytest

from rangefinder.common.lengths import length, length_unit, round_distances_m, span


@pytest.mark.parametrize(
    ("distance_m", "text"),
    [
        (0.0048, "0.48 cm"),
        (0.2457, "24.6 cm"),
        (0.45, "0.45 m"),
        (3.14159, "3.14 m"),
        (480, "480 m"),
    ],
)
def test_a_distance_has_three_digits_and_its_unit(distance_m, text):
    assert length(distance_m) == text


@pytest.mark.parametrize(
    ("range_m", "text"),
    [
        ((0.05, 0.15), "5 to 15 cm"),
        ((0.2457, 0.2546), "24.6 to 25.5 cm"),
        ((0.7, 5.0), "0.7 to 5 m"),
        ((20.0, 500.0), "20 to 500 m"),
    ],
)
def test_the_ends_of_a_range_can_be_told_apart(range_m, text):
    assert span(range_m) == text


@pytest.mark.parametrize(
    "range_m", [(0.05, 0.15), (0.2457, 0.2546), (0.7, 5.0), (20.0, 500.0), (0.05, 500.0), (1, 1000)]
)
def test_axes_have_a_few_round_numbers_that_are_written_without_rounding(range_m):
    ticks, unit = round_distances_m(range_m), length_unit(range_m)
    assert 4 <= len(ticks) <= 9
    assert range_m[0] <= ticks[0] < ticks[-1] <= range_m[1]
    assert [float(unit.text(tick)) / unit.per_m for tick in ticks] == pytest.approx(ticks)
    assert max(map(len, map(unit.text, ticks))) <= 4


def test_readings_of_close_things_keep_their_millimetres():
    close, far = length_unit((0.05, 0.15)), length_unit((0.7, 5.0))
    assert f"{close.fixed(0.0564, 2)} {close.name}" == "5.6 cm"
    assert f"{far.fixed(1.2345, 2)} {far.name}" == "1.23 m"
