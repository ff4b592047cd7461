"""CRLB ratios, and bootstrap intervals over scenes."""

from __future__ import annotations

import numpy as np
import pytest

from rangefinder.evaluation.metrics import SUMS
from rangefinder.evaluation.scoring import evaluate
from rangefinder.evaluation.summary import (
    SceneBootstrap,
    bin_means,
    crlb_ratio,
    score_bounds,
    score_ratios,
)

BOX = (0, 0, 64, 48)


def test_errors_at_twice_the_bound_score_two(captures, params, prediction_of):
    generator = np.random.default_rng(0)
    captures.distances = [
        np.exp(generator.uniform(np.log(0.7), np.log(4), (48, 64))).astype(np.float32)
        for _ in range(6)
    ]

    def model(index):
        truth = captures.distances[index]
        error = 0.02 * truth * generator.standard_normal(truth.shape)
        return prediction_of((truth + error).astype(np.float32))

    found = evaluate(captures, {"m": model}, params, BOX)
    distances = np.geomspace(0.7, 5.0, 200)
    result = crlb_ratio(found.sums, found.regions, distances, 0.01 * distances)
    assert list(result["models"]["m"].values()) == pytest.approx([2.0] * 5, rel=0.1)
    assert list(result["bound_m"]) == ["0.7-1.0", "1.0-1.5", "1.5-2.0", "2.0-3.0", "3.0-4.0"]


def test_weak_texture_does_not_count(captures, params, prediction_of):
    captures.textures = [np.full((48, 64), 0.0, np.float32) for _ in range(6)]
    captures.textures[0][:24] = 1.0

    def model(index):  # wrong wherever texture is weak
        truth = np.where(captures.distances[index] > 0, captures.distances[index], 1.0)
        weak = captures.textures[index] == 0.0
        return prediction_of((truth * (1.0 + 9.0 * weak)).astype(np.float32))

    params = params.model_copy(
        update={"evaluation": params.evaluation.model_copy(update={"strong_texture_share": 0.01})}
    )
    found = evaluate(captures, {"m": model}, params, BOX)
    distances = np.geomspace(0.7, 5.0, 50)
    ratios = crlb_ratio(found.sums, found.regions, distances, distances)["models"]["m"].values()
    assert any(ratio == 0.0 for ratio in ratios)
    assert all(ratio in (0.0, None) for ratio in ratios)


def test_bins_beyond_the_known_bound_are_nan():
    means = bin_means(np.array([2.0, 1.0]), np.array([4.0, 2.0]), (0.5, 1.0, 2.0))
    assert np.isnan(means[0])
    assert 2.0 < means[1] < 4.0


def sums_of(abs_rel, pixels=100):
    sums = np.zeros((len(abs_rel), len(SUMS)))
    sums[:, 0] = pixels
    sums[:, 1] = np.asarray(abs_rel) * pixels
    return sums


def test_the_interval_is_that_of_a_mean_over_scenes():
    errors = np.random.default_rng(0).normal(0.1, 0.02, 100)
    bootstrap = SceneBootstrap.over([f"s{i}" for i in range(100)], 4000, seed=1)
    low, high = score_bounds(bootstrap, sums_of(errors))["abs_rel"]
    half = 1.96 * errors.std() / np.sqrt(100)
    assert low == pytest.approx(errors.mean() - half, abs=0.1 * half)
    assert high == pytest.approx(errors.mean() + half, abs=0.1 * half)


def test_captures_of_one_scene_stay_together():
    """Ten captures of two scenes: only three different resamples exist."""
    errors = [0.1] * 5 + [0.3] * 5
    bootstrap = SceneBootstrap.over(["a"] * 5 + ["b"] * 5, 500, seed=0)
    means = bootstrap.resampled(sums_of(errors))[:, 0]
    assert set(np.round(means, 9)) == {0.1, 0.2, 0.3}


def test_ratios_are_paired():
    """A model that is twice as good in every scene is so in every resample."""
    errors = np.random.default_rng(0).uniform(0.05, 0.4, 20)
    bootstrap = SceneBootstrap.over([str(i) for i in range(20)], 200, seed=0)
    ratio = score_ratios(bootstrap, sums_of(errors / 2), sums_of(errors))["abs_rel"]
    assert ratio == pytest.approx({"ratio": 0.5, "low": 0.5, "high": 0.5})


def test_one_scene_has_no_interval():
    bootstrap = SceneBootstrap.over(["a", "a"], 50, seed=0)
    assert score_bounds(bootstrap, sums_of([0.1, 0.2]))["abs_rel"] == [None, None]


def test_a_bootstrap_follows_from_its_seed():
    scenes = [str(i) for i in range(9)]
    draws = [SceneBootstrap.over(scenes, 20, seed).weights for seed in (3, 3, 4)]
    assert np.array_equal(draws[0], draws[1])
    assert not np.array_equal(draws[0], draws[2])
    assert (draws[0].sum(axis=1) == 9).all()
