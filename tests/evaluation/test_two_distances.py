"""Two distances: coverage and width of the intervals given, beside those of the one."""

from __future__ import annotations

import io
import json
import re
from dataclasses import replace

import numpy as np
import pytest

from rangefinder.errors import ModelError
from rangefinder.evaluation.report import print_summary
from rangefinder.evaluation.scoring import evaluate
from rangefinder.evaluation.sections import Scored, calibration_section
from rangefinder.models.prediction import TwoDistances

WHOLE = (0, 0, 64, 48)


@pytest.fixture
def undecided(captures):
    """2 m in the left quarter, 3 m in the next, 4 m in the right half."""
    for distance in captures.distances:
        distance[:], distance[:, :32], distance[:, :16] = 4.0, 3.0, 2.0
    return captures


@pytest.fixture
def model(prediction_of):
    """1.6 to 4 m; in the left half 1.9 to 2.1 m or 3.5 to 4.1 m."""
    near_m, far_m = (np.full((48, 64), end, np.float32) for end in (1.6, 4.0))
    ends = ([1.9, 3.5], [2.1, 4.1])
    distance, share, near, far = (
        np.broadcast_to(np.float32(pair), (48, 64, 2)).copy()
        for pair in ([2.0, 3.8], [0.7, 0.3], *ends)
    )
    for values in (distance, share, near, far):
        values[:, 32:] = np.nan

    def predict(_):
        found = prediction_of(np.full((48, 64), 2.0, np.float32))
        intervals = {**found.interval_m, 0.8: (near_m, far_m)}
        both = TwoDistances(distance, share, near, far)
        return replace(found, interval_m=intervals, two_distances=both)

    return predict


def scored(captures, params, predict):
    return evaluate(captures, {"m": predict}, params, WHOLE).summary["models"]["m"]


def test_the_intervals_given_are_scored_beside_the_one(undecided, params, model):
    found = scored(undecided, params, model)
    json.dumps(found, allow_nan=False)
    found = found["two_distances"]
    assert (found["level"], found["share"]) == (0.8, 0.5)
    one = {"coverage": 1.0, "width_m": 2.4, "width_dpt": 1 / 1.6 - 1 / 4}
    two = {"coverage": 0.5, "width_m": 0.8, "width_dpt": 1 / 1.9 - 1 / 2.1 + 1 / 3.5 - 1 / 4.1}
    assert found["two"]["given"] == pytest.approx(two, rel=1e-5)
    assert found["two"]["one_interval"] == pytest.approx(one, rel=1e-5)
    assert found["all"]["one_interval"] == pytest.approx(one, rel=1e-5)
    mean = {name: (one[name] + two[name]) / 2 for name in one}
    assert found["all"]["given"] == pytest.approx(mean, rel=1e-5)


def test_a_model_without_two_distances_has_the_one_interval(undecided, params, prediction_of):
    found = scored(undecided, params, lambda _: prediction_of(np.full((48, 64), 2.0, np.float32)))
    both = found["two_distances"]
    assert both["share"] == 0.0
    assert both["all"]["given"] == both["all"]["one_interval"]
    assert both["all"]["given"]["coverage"] == found["coverage"]["0.8"]
    assert set(both["two"]["given"].values()) == {None}


def test_each_source_has_its_own(undecided, params, model):
    undecided.photographed = [0, 5]
    undecided.distances[0][:] = undecided.distances[5][:] = 2.0
    found = scored(undecided, params, model)["by_source"]
    coverages = {
        source: own["two_distances"]["two"]["given"]["coverage"] for source, own in found.items()
    }
    assert coverages == {"photographed": 1.0, "simulated": 0.5}


def test_only_the_support_counts(undecided, params, model):
    found = evaluate(undecided, {"m": model}, params, (0, 0, 40, 48)).summary["models"]["m"]
    assert found["two_distances"]["share"] == pytest.approx(32 / 40)


def test_maps_of_another_size_are_refused(undecided, params, model):
    def smaller(index):
        found = model(index)
        both = TwoDistances(*(values[:-1] for values in found.two_distances.maps))
        return replace(found, two_distances=both)

    with pytest.raises(ModelError, match="not on the pixels"):
        scored(undecided, params, smaller)


def test_tables_name_them(undecided, params, model, prediction_of):
    plain = prediction_of(np.full((48, 64), 2.0, np.float32))
    models = {"constant": lambda _: plain, "student": model}
    evaluation = evaluate(undecided, models, params, WHOLE)
    text = io.StringIO()
    print_summary(evaluation.summary, text)
    table = text.getvalue().partition("Where two distances are possible")[2]
    assert re.search(r"^student +50\.0% +50% +100% +0\.8 +2\.4 +0\.0919 +0\.375", table, re.M)
    assert not re.search("^constant", table, re.M)
    section = calibration_section(Scored(evaluation.summary, evaluation.per_image, {}))
    assert "hold 75.0 %; one everywhere holds 100.0 %" in section.parts[-1]
    del models["student"]
    print_summary(evaluate(undecided, models, params, WHOLE).summary, text := io.StringIO())
    assert "two distances" not in text.getvalue()
