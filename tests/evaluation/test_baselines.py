"""The constant predictor."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from rangefinder.errors import CaptureError
from rangefinder.evaluation.baselines import constant_model, constant_ranging
from rangefinder.evaluation.score import evaluate


def training_set(distances, split="train"):
    return SimpleNamespace(table=pd.DataFrame({"split": split, "distance_m": distances}))


def test_it_says_the_training_median_everywhere(captures):
    training = training_set([1.0, 3.0, 2.0, np.nan])
    ranging = constant_model(training, captures)(0)
    assert ranging.distance_m.shape == (48, 64)
    assert (ranging.distance_m == 2.0).all()
    assert ranging.sd_dpt[0, 0] == pytest.approx(np.std([1, 1 / 2, 1 / 3]))


def test_its_intervals_are_quantiles_of_the_training_distances():
    ranging = constant_ranging(np.linspace(1.0, 3.0, 201), (2, 2))
    ends = {level: (near[0, 0], far[1, 1]) for level, (near, far) in ranging.interval_m.items()}
    assert ends[0.5] == pytest.approx((1.5, 2.5))
    assert ends[0.8] == pytest.approx((1.2, 2.8))
    assert ends[0.95] == pytest.approx((1.05, 2.95))


def test_other_splits_do_not_count(captures):
    table = pd.DataFrame({"split": ["train", "test"], "distance_m": [1.0, 9.0]})
    assert (constant_model(SimpleNamespace(table=table), captures)(1).distance_m == 1.0).all()


def test_no_training_distances_are_refused(captures):
    with pytest.raises(CaptureError, match="no training distances"):
        constant_model(training_set([1.0], split="test"), captures)


def test_it_covers_what_it_was_made_from(captures, params):
    generator = np.random.default_rng(0)
    for index in range(len(captures)):
        captures.distances[index] = generator.uniform(0.8, 3.8, (48, 64)).astype(np.float32)
    training = training_set(generator.uniform(0.8, 3.8, 4000))
    model = constant_model(training, captures)
    summary = evaluate(captures, {"constant": model}, params, (0, 0, 64, 48)).summary
    found = summary["models"]["constant"]
    assert found["coverage"] == pytest.approx({"0.5": 0.5, "0.8": 0.8, "0.95": 0.95}, abs=0.02)
    assert found["ause"] > 0
