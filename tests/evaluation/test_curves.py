"""Sparsification (AUSE), and predicted against true distance; against sorting and by hand."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from rangefinder.evaluation.curves import (
    DistanceHistogram,
    LogHistogram,
    SensorErrors,
    Sparsification,
)


def test_quantiles_of_the_predictions_at_a_true_distance():
    histogram = DistanceHistogram((0.7, 5.0))
    predicted = np.linspace(1.5, 2.5, 1001, dtype=np.float32)
    histogram.add(np.full(1001, 2.0, np.float32), predicted)
    bin_width = (5.0 / 0.7) ** (1 / 96)
    row = int(np.flatnonzero(histogram.counts.sum(axis=1))[0])
    assert histogram.edges_m[row] <= 2.0 < histogram.edges_m[row + 1]
    for level, distance in ((0.1, 1.6), (0.5, 2.0), (0.9, 2.4)):
        ratio = histogram.predicted_quantile_m(level)[row] / distance
        assert 1 / bin_width < ratio < bin_width
    assert histogram.abs_rel[row] == pytest.approx(np.mean(np.abs(predicted - 2.0) / 2.0), rel=1e-4)


def test_predictions_beyond_the_range_are_in_the_end_bins():
    histogram = DistanceHistogram((0.7, 5.0))
    histogram.add(np.asarray([1.0, 1.0], np.float32), np.asarray([0.1, 90.0], np.float32))
    assert histogram.counts[:, 0].sum() == 1
    assert histogram.counts[:, -1].sum() == 1


def test_distances_without_pixels_are_nan():
    histogram = DistanceHistogram((0.7, 5.0))
    assert np.isnan(histogram.abs_rel).all()
    assert np.isnan(histogram.predicted_quantile_m(0.5)).all()


def test_errors_are_averaged_in_each_cell_of_the_sensor():
    errors = SensorErrors((2, 3))
    errors.add(np.array([0, 0, 5]), np.array([0.1, 0.3, 0.5], np.float32))
    errors.add(np.array([0]), np.array([0.8], np.float32))
    assert errors.pixels.tolist() == [[3, 0, 0], [0, 0, 1]]
    assert errors.abs_rel[0, 0] == pytest.approx(0.4)
    assert errors.abs_rel[1, 2] == pytest.approx(0.5)
    assert np.isnan(errors.abs_rel).sum() == 4


REMOVED = np.arange(100) / 100


def curve_of(error, uncertainty):
    collected = Sparsification()
    collected.add(np.asarray(error, np.float32), np.asarray(uncertainty, np.float32))
    return collected.curve()


def by_sorting(error, uncertainty):
    """Mean error of the most certain share, the plain way."""
    ordered = np.asarray(error, float)[np.argsort(uncertainty, kind="stable")]
    total = np.concatenate([[0.0], np.cumsum(ordered)])
    kept = (1 - REMOVED) * len(ordered)
    return np.interp(kept, np.arange(len(ordered) + 1), total) / kept


@given(
    hnp.arrays(
        np.float32, st.integers(1, 200), elements=st.floats(0, 4, width=32, allow_subnormal=False)
    )
)
def test_ause_is_zero_when_the_order_is_perfect(error):
    assert curve_of(error, error).ause == 0.0


def test_any_increasing_function_of_the_error_is_a_perfect_order():
    error = np.random.default_rng(0).lognormal(-3, 1, 5000)
    assert curve_of(error, 3 * error**2 + 0.1).ause == pytest.approx(0.0, abs=1e-4 * error.mean())


def test_four_pixels_in_the_worst_order_by_hand():
    line = curve_of([0.4, 0.3, 0.2, 0.1], [1, 2, 3, 4])
    places = [0, 25, 50, 75]
    assert line.by_uncertainty[places] == pytest.approx([0.25, 0.3, 0.35, 0.4])
    assert line.by_error[places] == pytest.approx([0.25, 0.2, 0.15, 0.1])
    assert line.selective_risk_50 == pytest.approx(0.35)


def test_curves_agree_with_sorting():
    generator = np.random.default_rng(1)
    error = generator.lognormal(-3, 1, 4000).astype(np.float32)
    uncertainty = (error * generator.lognormal(0, 0.7, 4000)).astype(np.float32)
    line = curve_of(error, uncertainty)
    assert line.by_uncertainty == pytest.approx(by_sorting(error, uncertainty), rel=2e-3)
    assert line.by_error == pytest.approx(by_sorting(error, error), rel=2e-3)
    area = np.trapezoid(by_sorting(error, uncertainty) - by_sorting(error, error), REMOVED)
    assert line.ause == pytest.approx(area, rel=1e-3)


def test_equal_uncertainties_give_a_flat_curve():
    error = np.linspace(0.0, 0.2, 101)
    assert curve_of(error, np.full(101, 0.3)).by_uncertainty == pytest.approx(np.full(100, 0.1))


@given(st.integers(0, 2**32 - 1))
def test_ause_is_never_negative_and_independent_of_the_order_of_captures(seed):
    generator = np.random.default_rng(seed)
    error, uncertainty = generator.lognormal(-3, 1, (2, 60)).astype(np.float32)
    together = curve_of(error, uncertainty)
    parts = Sparsification()
    for part in (slice(40, 60), slice(0, 40)):
        parts.add(error[part], uncertainty[part])
    assert parts.curve().ause == pytest.approx(together.ause, abs=1e-12)
    assert together.ause >= -1e-9


def test_upper_share_splits_values_and_survives_extremes():
    values = np.random.default_rng(2).lognormal(-4, 3, 20_000).astype(np.float32)
    histogram = LogHistogram()
    histogram.add(values)
    for share in (0.1, 0.5, 0.9):
        assert (values >= histogram.upper_share(share)).mean() == pytest.approx(share, abs=1e-3)
    extremes = LogHistogram()
    extremes.add(np.asarray([0.0, 0.0, 1e-30, 1e30], np.float32))
    assert extremes.upper_share(0.9) == 0.0
    assert LogHistogram().upper_share(0.5) == float("inf")
