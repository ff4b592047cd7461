"""Predicted against true distance."""

from __future__ import annotations

import numpy as np
import pytest

from rangefinder.evaluation.joint import DistanceJoint


def test_quantiles_of_the_predictions_at_a_true_distance():
    joint = DistanceJoint((0.7, 5.0))
    predicted = np.linspace(1.5, 2.5, 1001, dtype=np.float32)
    joint.add(np.full(1001, 2.0, np.float32), predicted)
    bin_width = (5.0 / 0.7) ** (1 / 96)
    row = int(np.flatnonzero(joint.counts.sum(axis=1))[0])
    assert joint.edges_m[row] <= 2.0 < joint.edges_m[row + 1]
    for level, distance in ((0.1, 1.6), (0.5, 2.0), (0.9, 2.4)):
        ratio = joint.predicted_quantile_m(level)[row] / distance
        assert 1 / bin_width < ratio < bin_width
    assert joint.abs_rel[row] == pytest.approx(np.mean(np.abs(predicted - 2.0) / 2.0), rel=1e-4)


def test_what_lies_beyond_the_range_stays_in_the_end_bins():
    joint = DistanceJoint((0.7, 5.0))
    joint.add(np.asarray([1.0, 1.0], np.float32), np.asarray([0.1, 90.0], np.float32))
    assert joint.counts[:, 0].sum() == 1
    assert joint.counts[:, -1].sum() == 1


def test_distances_never_seen_are_unknown():
    joint = DistanceJoint((0.7, 5.0))
    assert np.isnan(joint.abs_rel).all()
    assert np.isnan(joint.predicted_quantile_m(0.5)).all()
