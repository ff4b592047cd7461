"""Errors over the bound: an estimate at the bound scores 1."""

from __future__ import annotations

import numpy as np
import pytest

from rangefinder.evaluation.over_bound import bin_means, over_bound
from rangefinder.evaluation.score import evaluate

BOX = (0, 0, 64, 48)


def test_errors_at_twice_the_bound_score_two(captures, params, ranging_of):
    generator = np.random.default_rng(0)
    captures.distances = [
        np.exp(generator.uniform(np.log(0.7), np.log(4), (48, 64))).astype(np.float32)
        for _ in range(6)
    ]

    def model(index):
        truth = captures.distances[index]
        error = 0.02 * truth * generator.standard_normal(truth.shape)
        return ranging_of((truth + error).astype(np.float32))

    found = evaluate(captures, {"m": model}, params, BOX)
    distances = np.geomspace(0.7, 5.0, 200)
    result = over_bound(found.sums, found.regions, distances, 0.01 * distances)
    assert list(result["models"]["m"].values()) == pytest.approx([2.0] * 5, rel=0.1)
    assert list(result["bound_m"]) == ["0.7-1.0", "1.0-1.5", "1.5-2.0", "2.0-3.0", "3.0-4.0"]


def test_weak_texture_does_not_count(captures, params, ranging_of):
    captures.textures = [np.full((48, 64), 0.0, np.float32) for _ in range(6)]
    captures.textures[0][:24] = 1.0

    def model(index):  # wrong wherever texture is weak
        truth = np.where(captures.distances[index] > 0, captures.distances[index], 1.0)
        weak = captures.textures[index] == 0.0
        return ranging_of((truth * (1.0 + 9.0 * weak)).astype(np.float32))

    params = params.model_copy(
        update={"evaluation": params.evaluation.model_copy(update={"strong_texture_share": 0.01})}
    )
    found = evaluate(captures, {"m": model}, params, BOX)
    distances = np.geomspace(0.7, 5.0, 50)
    ratios = over_bound(found.sums, found.regions, distances, distances)["models"]["m"].values()
    assert any(ratio == 0.0 for ratio in ratios)
    assert all(ratio in (0.0, None) for ratio in ratios)


def test_bins_beyond_the_known_bound_have_none():
    means = bin_means(np.array([2.0, 1.0]), np.array([4.0, 2.0]), (0.5, 1.0, 2.0))
    assert np.isnan(means[0])
    assert 2.0 < means[1] < 4.0
