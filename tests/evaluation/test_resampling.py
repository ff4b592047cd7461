"""Bootstrap over scenes."""

from __future__ import annotations

import numpy as np
import pytest

from rangefinder.evaluation.metrics import SUMS
from rangefinder.evaluation.resampling import SceneBootstrap, score_bounds, score_ratios


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


def test_the_seed_decides():
    scenes = [str(i) for i in range(9)]
    draws = [SceneBootstrap.over(scenes, 20, seed).weights for seed in (3, 3, 4)]
    assert np.array_equal(draws[0], draws[1])
    assert not np.array_equal(draws[0], draws[2])
    assert (draws[0].sum(axis=1) == 9).all()
