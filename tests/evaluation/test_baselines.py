"""Baselines without a photo: the best constant, and the best one of each row."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from rangefinder.errors import CaptureError
from rangefinder.evaluation.baselines import (
    best_constant_m,
    constant_model,
    constant_prediction,
    row_model,
)
from rangefinder.evaluation.scoring import evaluate, held_out

from .conftest import labelled_set


def training_set(distances, split="train"):
    return SimpleNamespace(table=pd.DataFrame({"split": split, "distance_m": distances}))


def test_the_constant_is_the_training_median_weighted_by_inverse_distance(captures):
    """Weights 1, 1/2 and 1/4: the nearest distance has more than half of them."""
    training = training_set([1.0, 4.0, 2.0, np.nan])
    prediction = constant_model(training, captures)(0)
    assert prediction.distance_m.shape == (48, 64)
    assert (prediction.distance_m == 1.0).all()
    assert prediction.sd_dpt[0, 0] == pytest.approx(np.std([1, 1 / 2, 1 / 4]))


def test_no_other_constant_has_a_smaller_mean_relative_error():
    distances = np.random.default_rng(0).gamma(3.0, 1.0, 301) + 0.5
    candidates = np.linspace(0.5, 8.0, 3000)
    errors = np.abs(candidates[:, None] / distances - 1).mean(axis=1)
    best = best_constant_m(distances)
    assert np.abs(best / distances - 1).mean() <= errors.min()
    assert best < np.median(distances)


def test_intervals_of_the_constant_are_quantiles_of_the_training_distances():
    prediction = constant_prediction(np.linspace(1.0, 3.0, 201), (2, 2))
    ends = {level: (near[0, 0], far[1, 1]) for level, (near, far) in prediction.interval_m.items()}
    assert ends[0.5] == pytest.approx((1.5, 2.5))
    assert ends[0.8] == pytest.approx((1.2, 2.8))
    assert ends[0.95] == pytest.approx((1.05, 2.95))


def test_other_splits_do_not_count(captures):
    table = pd.DataFrame({"split": ["train", "test"], "distance_m": [1.0, 9.0]})
    assert (constant_model(SimpleNamespace(table=table), captures)(1).distance_m == 1.0).all()


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        ([("chart", "train", 1.0), ("labelled", "validation", 1.5), ("labelled", "train", 2.0)], 2),
        ([("chart", "train", 1.0), ("labelled", "validation", 1.5)], 1.5),
        ([("chart", "train", 1.0), ("chart", "validation", 1.5)], 1),
    ],
)
def test_scenes_come_before_charts_and_training_before_validation(tmp_path, rows, expected):
    """The lower half of a scene is at its distance, the upper half twice as far."""
    captures = labelled_set(tmp_path, *rows, ("labelled", "test", 3.0))
    test, _ = held_out(captures)
    assert constant_model(captures, test)(0).distance_m[0, 0] == pytest.approx(expected)


def test_no_training_distances_are_refused(captures):
    with pytest.raises(CaptureError, match="no training distances"):
        constant_model(training_set([1.0], split="test"), captures)


def test_the_constant_is_calibrated_on_the_distribution_of_its_training_set(captures, params):
    generator = np.random.default_rng(0)
    for index in range(len(captures)):
        captures.distances[index] = generator.uniform(0.8, 3.8, (48, 64)).astype(np.float32)
    training = training_set(generator.uniform(0.8, 3.8, 4000))
    model = constant_model(training, captures)
    summary = evaluate(captures, {"constant": model}, params, (0, 0, 64, 48)).summary
    found = summary["models"]["constant"]
    assert found["coverage"] == pytest.approx({"0.5": 0.5, "0.8": 0.8, "0.95": 0.95}, abs=0.02)
    assert found["ause"] > 0


def test_the_row_constant_follows_the_row_and_the_constant_does_not(tmp_path):
    rows = [("labelled", "train", metres) for metres in (1.0, 1.2, 1.1)]
    captures = labelled_set(tmp_path, *rows, ("labelled", "test", 1.5))
    test, _ = held_out(captures)
    by_row = row_model(captures, test)(0)
    assert by_row.distance_m.shape == (48, 64)
    assert by_row.distance_m[40] == pytest.approx(1.1)
    assert by_row.distance_m[10] == pytest.approx(2.2)
    constant = constant_model(captures, test)(0)
    assert by_row.distance_m[0, 0] == constant.distance_m[0, 0]  # unknown in all maps
    assert np.unique(constant.distance_m).size == 1
    near, far = by_row.interval_m[0.8]
    assert near[40, 10] <= 1.1 <= far[40, 10]


def test_without_labelled_training_captures_there_is_no_row_constant(tmp_path):
    captures = labelled_set(tmp_path, ("chart", "train", 1.0), ("labelled", "test", 1.5))
    test, _ = held_out(captures)
    assert row_model(captures, test) is None
