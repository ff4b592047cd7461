"""The gate: each rule refuses what it is for."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from rangefinder.captures.distance_maps import near_edges
from rangefinder.common.timing import Timing
from rangefinder.config import PromotionParams
from rangefinder.evaluation.gate import checks
from rangefinder.evaluation.scoring import evaluate

PARAMS = PromotionParams()
WHOLE = (0, 0, 64, 48)
TIMES = {name: Timing.of([0.02, 0.02, 0.02]) for name in ("candidate", "champion")}


@pytest.fixture
def gate(captures, params, prediction_of, noisy_model):
    """A function from candidate and champion to the rules that are broken and all numbers."""

    def constant(index):
        return prediction_of(np.full_like(captures.distances[index], 1.5), 0.3)

    def judge(candidate, champion=None, latency=TIMES, tolerances=PARAMS):
        models = {"constant": constant}
        models |= {"champion": champion} if champion else {}
        summary = evaluate(captures, models | {"candidate": candidate}, params, WHOLE).summary
        found = checks(summary, latency, tolerances)
        return {check.rule for check in found if not check.holds}, found

    return judge


def changed(model, change):
    """A model whose distances [m] are `change(distance)`."""

    def predict(index):
        prediction = model(index)
        return replace(prediction, distance_m=change(prediction.distance_m, index))

    return predict


def test_the_first_champion_has_to_beat_the_best_constant_only(gate, captures, noisy_model):
    broken, found = gate(noisy_model(captures, 0.05))
    assert broken == set()
    assert [check.rule for check in found] == ["better than the best constant"]
    broken, _ = gate(noisy_model(captures, 5.0))
    assert broken == {"better than the best constant"}


def test_a_candidate_that_is_better_in_all_passes(gate, captures, noisy_model):
    broken, found = gate(noisy_model(captures, 0.02), noisy_model(captures, 0.1))
    assert broken == set()
    assert len(found) > 8
    assert all(check.numbers for check in found)


def test_a_worse_one_and_one_better_by_less_than_the_margin_are_refused(
    gate, captures, noisy_model
):
    champion = noisy_model(captures, 0.1)
    broken, _ = gate(noisy_model(captures, 0.2), champion)
    assert "better than the champion" in broken
    broken, _ = gate(noisy_model(captures, 0.1, seed=1), champion)  # the same, other noise
    assert "better than the champion" in broken
    broken, _ = gate(noisy_model(captures, 0.09), champion, tolerances=PARAMS)
    assert broken == set()
    wide = PARAMS.model_copy(update={"margin": 0.5})
    broken, _ = gate(noisy_model(captures, 0.09), champion, tolerances=wide)
    assert broken == {"better than the champion"}


def test_one_better_in_one_scene_of_many_is_not_significantly_better(gate, captures, noisy_model):
    champion = noisy_model(captures, 0.1)
    good = noisy_model(captures, 0.01)

    def candidate(index):  # much better in one scene, a little worse in all others
        if captures.scenes[index] == "motorcycle":
            return good(index)
        return changed(champion, lambda distance, _: distance * 1.01)(index)

    broken, found = gate(candidate, champion)
    (margin,) = [check for check in found if check.rule == "better than the champion"]
    assert float(margin.numbers.split()[0]) < 0.98  # the ratio alone would do
    assert "better than the champion" in broken


def test_what_is_lost_at_one_distance_is_not_outweighed_by_the_rest(gate, captures, noisy_model):
    champion = noisy_model(captures, 0.1)
    good = noisy_model(captures, 0.02)

    def worse_near(distance, index):
        truth = captures.distances[index]
        near = (truth >= 0.7) & (truth < 1.0)
        return np.where(near, distance * 1.4, distance).astype(np.float32)

    broken, _ = gate(changed(good, worse_near), champion)
    assert "no worse at 0.7-1.0 m" in broken
    assert "no worse at 2.0-3.0 m" not in broken


def test_bad_intervals_are_refused_however_good_the_distances(
    gate, captures, noisy_model, prediction_of
):
    champion, good = noisy_model(captures, 0.1), noisy_model(captures, 0.02)

    def overconfident(index):
        return prediction_of(good(index).distance_m, 0.002)

    broken, _ = gate(overconfident, champion)
    assert broken == {"calibrated no worse"}


def test_a_slower_one_is_refused(gate, captures, noisy_model):
    slow = TIMES | {"candidate": Timing.of([0.03, 0.03, 0.03])}
    broken, _ = gate(noisy_model(captures, 0.02), noisy_model(captures, 0.1), latency=slow)
    assert broken == {"no slower"}


def test_errors_near_edges_have_a_tolerance_of_their_own(gate, captures, noisy_model):
    champion, good = noisy_model(captures, 0.1), noisy_model(captures, 0.02)

    def smeared(distance, index):
        edges = near_edges(captures.distances[index], 0.05, 8)
        return np.where(edges, distance * 1.4, distance).astype(np.float32)

    broken, _ = gate(changed(good, smeared), champion)
    assert "no worse at near edges" in broken
