"""Before and behind the focus: scores of either side, the sign known, AUC of the sign."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from rangefinder.errors import ModelError
from rangefinder.evaluation.metrics import SCORES
from rangefinder.evaluation.scoring import evaluate
from rangefinder.models.prediction import Sides

WHOLE = (0, 0, 64, 48)


@pytest.fixture
def focused(captures):
    """Six captures, 2 m in the left half and 3.5 m in the right one; the focus is at 3 m."""
    assert captures.camera.focus_distance_m == 3.0
    for distance in captures.distances:
        distance[:] = 2.0
        distance[:, 32:] = 3.5
    return captures


def signed(prediction_of, probability, before_m=2.2, behind_m=3.15, distance_m=2.0):
    """A model that predicts so on all pixels; `probability` is a map or a number."""

    def model(_):
        def filled(value):
            return np.broadcast_to(np.float32(value), (48, 64))

        sides = Sides(filled(probability), filled(before_m), filled(behind_m))
        return replace(prediction_of(np.full((48, 64), distance_m, np.float32)), sides=sides)

    return model


def scored(captures, params, model):
    return evaluate(captures, {"m": model}, params, WHOLE).summary["models"]["m"]


def test_each_side_has_its_scores(focused, params, prediction_of):
    found = scored(focused, params, signed(prediction_of, 0.5))
    assert list(found["by_side"]["before"]) == list(SCORES)
    assert found["by_side"]["before"]["abs_rel"] == pytest.approx(0.0)
    assert found["by_side"]["behind"]["abs_rel"] == pytest.approx(1.5 / 3.5, rel=1e-5)
    assert found["by_side"]["behind"]["mae_m"] == pytest.approx(1.5)


def test_a_known_side_takes_the_estimate_of_that_side(focused, params, prediction_of):
    """2.2 m for 2 m and 3.15 m for 3.5 m are errors of 10 %, whatever the probability."""
    known = scored(focused, params, signed(prediction_of, 0.5))["defocus_sign"]["abs_rel_if_known"]
    assert known == pytest.approx({"overall": 0.1, "before": 0.1, "behind": 0.1}, rel=1e-5)


@pytest.mark.parametrize(
    ("before", "behind", "auc"),
    [
        ([0.9], [0.1], 1.0),
        ([0.1], [0.9], 0.0),
        ([0.5], [0.5], 0.5),
        ([1.0], [0.0], 1.0),
        ([0.8, 0.3], [0.5, 0.1], 0.75),  # of four pairs, 0.3 against 0.5 is in the wrong order
        ([0.8, 0.5], [0.5, 0.1], 0.875),  # ... or a tie, which counts half
    ],
)
def test_the_auc_is_the_share_of_pairs_in_order(
    focused, params, prediction_of, before, behind, auc
):
    probability = np.empty((48, 64), np.float32)
    for half, values in ((slice(None, 32), before), (slice(32, None), behind)):
        probability[:, half] = np.resize(np.repeat(values, 24), 48)[:, None]
    found = scored(focused, params, signed(prediction_of, probability))
    assert found["defocus_sign"]["auc"] == pytest.approx(auc)


def test_the_auc_of_many_values_is_that_of_their_ranks(focused, params, prediction_of):
    from scipy.stats import mannwhitneyu

    generator = np.random.default_rng(0)
    odds = generator.normal(0, 3, (48, 64))
    odds[:, :32] += 2.0
    probability = (1 / (1 + np.exp(-odds))).astype(np.float32)
    found = scored(focused, params, signed(prediction_of, probability))["defocus_sign"]["auc"]
    pairs = 48 * 32 * 48 * 32
    expected = mannwhitneyu(odds[:, :32].ravel(), odds[:, 32:].ravel()).statistic / pairs
    assert found == pytest.approx(expected, abs=1e-3)


def test_a_model_without_a_sign_has_none(focused, params, prediction_of):
    found = scored(focused, params, lambda _: prediction_of(np.full((48, 64), 2.0, np.float32)))
    assert found["defocus_sign"] is None
    assert found["by_side"]["before"]["abs_rel"] == 0.0


def test_a_side_without_pixels_is_null(focused, params, prediction_of):
    for distance in focused.distances:
        distance[:] = 2.0
    found = scored(focused, params, signed(prediction_of, 0.7))
    json.dumps(found, allow_nan=False)
    assert found["by_side"]["behind"] == dict.fromkeys(SCORES)
    assert found["defocus_sign"]["auc"] is None
    assert found["defocus_sign"]["abs_rel_if_known"]["behind"] is None
    assert found["defocus_sign"]["abs_rel_if_known"]["before"] == pytest.approx(0.1, rel=1e-5)


def test_only_the_scored_pixels_count(focused, params, prediction_of):
    model = signed(prediction_of, 0.5)
    found = evaluate(focused, {"m": model}, params, (0, 0, 34, 48)).summary
    assert found["protocol"]["pixels"]["by_side"] == {"before": 6 * 32 * 48, "behind": 6 * 2 * 48}
    known = found["models"]["m"]["defocus_sign"]["abs_rel_if_known"]
    assert known["overall"] == pytest.approx(0.1, rel=1e-5)


def test_a_gap_in_the_sides_is_refused(focused, params, prediction_of):
    with pytest.raises(ModelError, match="no usable prediction"):
        scored(focused, params, signed(prediction_of, np.nan))
