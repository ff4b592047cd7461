"""One definition of every score, against hand-computed numbers and other libraries."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torchmetrics.functional
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from rangefinder.errors import ModelError
from rangefinder.evaluation.metrics import (
    SCORES,
    SUMS,
    check_prediction,
    check_values,
    coverage,
    pixel_sums,
    relative_sd,
    scores,
)
from rangefinder.models.prediction import INTERVAL_LEVELS, Prediction

DISTANCES = st.floats(0.25, 8.0, width=32, allow_subnormal=False)
PAIRS = st.integers(1, 60).flatmap(
    lambda n: st.tuples(*[hnp.arrays(np.float32, (1, n), elements=DISTANCES)] * 2)
)


def prediction_around(distance, half=0.0):
    distance = np.asarray(distance, np.float32)
    ends = dict.fromkeys(INTERVAL_LEVELS, (distance - half, distance + half))
    return Prediction(distance, ends, np.ones_like(distance))


def sums_of(truth, prediction):
    truth = np.asarray(truth, np.float32).ravel()
    everywhere = np.arange(truth.size)
    return pixel_sums(truth, prediction, everywhere, np.zeros_like(everywhere), 1)[0]


def test_scores_of_three_pixels_by_hand():
    found = scores(sums_of([[1.0, 2.0, 4.0]], prediction_around([[1.5, 2.0, 2.0]])))
    assert found == pytest.approx(
        {
            "abs_rel": (0.5 + 0.0 + 0.5) / 3,
            "mae_m": (0.5 + 0.0 + 2.0) / 3,
            "rmse_m": np.sqrt((0.25 + 0.0 + 4.0) / 3),
            "rmse_dpt": np.sqrt(((1 / 3) ** 2 + 0.0 + 0.25**2) / 3),
            "delta1": 1 / 3,
            "delta2": 2 / 3,  # 1.5 < 1.5625
            "delta3": 2 / 3,  # 2.0 > 1.953
        }
    )


@given(PAIRS)
def test_scores_agree_with_torchmetrics(pair):
    truth, distance = (torch.from_numpy(values.astype(np.float64)) for values in pair)
    found = scores(sums_of(pair[0], prediction_around(pair[1])))
    theirs = {
        "mae_m": torchmetrics.functional.mean_absolute_error(distance, truth),
        "abs_rel": torchmetrics.functional.mean_absolute_percentage_error(distance, truth),
        "rmse_m": torchmetrics.functional.mean_squared_error(distance, truth, squared=False),
        "rmse_dpt": torchmetrics.functional.mean_squared_error(
            1 / distance, 1 / truth, squared=False
        ),
    }
    for name, value in theirs.items():
        assert found[name] == pytest.approx(float(value), rel=1e-4, abs=1e-6)


@given(PAIRS)
def test_scores_are_ordered_and_bounded(pair):
    found = scores(sums_of(pair[0], prediction_around(pair[1])))
    assert 0 <= found["delta1"] <= found["delta2"] <= found["delta3"] <= 1
    assert found["mae_m"] <= found["rmse_m"] * (1 + 1e-5)


def test_coverage_counts_truths_within_the_interval_ends_included():
    distance = np.asarray([[1.0, 2.0, 3.0, 4.0]], np.float32)
    found = coverage(sums_of([[1.0, 2.5, 3.0, 4.75]], prediction_around(distance, half=0.5)))
    assert found == {"0.5": 0.75, "0.8": 0.75, "0.95": 0.75}


def test_sums_of_cells_add_up_to_the_total():
    truth = np.asarray([1.0, 2.0, 4.0], np.float32)
    prediction = prediction_around([[1.5, 2.0, 2.0]])
    apart = pixel_sums(truth, prediction, np.arange(3), np.asarray([0, 2, 0]), 3)
    assert apart[:, 0].tolist() == [2, 0, 1]
    assert apart.sum(axis=0) == pytest.approx(sums_of(truth, prediction))


def test_no_pixels_give_null_scores():
    assert scores(np.zeros(len(SUMS))) == dict.fromkeys(SCORES)


def test_a_cell_with_a_missing_prediction_is_nan_not_zero():
    prediction = prediction_around([[np.nan, 2.0]])
    apart = pixel_sums(np.ones(2, np.float32), prediction, np.arange(2), np.asarray([0, 1]), 2)
    assert np.isnan(apart[0]).all()
    assert np.isfinite(apart[1]).all()


def test_predictions_of_another_size_are_refused():
    with pytest.raises(ModelError, match=r"model 'x'.*shape \(1, 3\).*shape \(2, 2\)"):
        check_prediction(prediction_around([[1.0, 2.0, 3.0]]), (2, 2), "model 'x'")


def test_missing_intervals_are_refused():
    prediction = prediction_around([[1.0]])
    short = Prediction(prediction.distance_m, {0.5: prediction.interval_m[0.5]}, prediction.sd_dpt)
    with pytest.raises(ModelError, match=r"levels \[0.5\]"):
        check_prediction(short, (1, 1), "model 'x'")


@pytest.mark.parametrize("bad", [np.nan, np.inf, 0.0, -1.0])
def test_an_invalid_distance_is_refused_on_scored_pixels_only(bad):
    prediction = prediction_around([[1.0, bad]])
    check_values(prediction, np.asarray([0]), "model 'x'")
    with pytest.raises(ModelError, match="1 of 2 scored pixels"):
        check_values(prediction, np.asarray([0, 1]), "model 'x'")


def test_expected_relative_error_follows_from_the_deviation_in_dioptres():
    generator = np.random.default_rng(0)
    inverse = 0.5 + 0.01 * generator.standard_normal(100_000)
    map_of = np.asarray([[2.0]], np.float32)
    prediction = Prediction(map_of, {}, np.asarray([[0.01]], np.float32))
    assert relative_sd(prediction)[0, 0] == pytest.approx(np.std(1 / inverse) / 2.0, rel=0.01)
