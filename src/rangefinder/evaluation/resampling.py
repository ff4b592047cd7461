"""How sure the scores are: bootstrap over scenes, because errors correlate within one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from rangefinder.evaluation.metrics import SCORES, SUMS, Double, json_number, score_array

_CONFIDENCE = 0.95

Bounds = list[float | None]


@dataclass(frozen=True)
class SceneBootstrap:
    """Resamples of scenes with replacement, the same for every model, so that ratios are paired.

    Attributes:
        weights: `[B, scenes]` how often each scene stands in each resample.
        scene_of: `[captures]` the scene of each capture.
    """

    weights: Double
    scene_of: NDArray[np.intp]

    @classmethod
    def over(cls, scenes: Sequence[str], resamples: int, seed: int) -> SceneBootstrap:
        """Draw resamples of the scenes that the captures show, in the scenes' own order."""
        names, scene_of = np.unique(np.asarray(scenes), return_inverse=True)
        generator = np.random.default_rng(seed)
        shares = np.full(len(names), 1.0 / len(names))
        weights = generator.multinomial(len(names), shares, size=resamples)
        return cls(weights.astype(np.float64), scene_of)

    def resampled(self, capture_sums: Double) -> Double:
        """Scores of each resample, `[B, len(SUMS) - 1]`, from sums `[captures, len(SUMS)]`."""
        scenes = self.weights.shape[1]
        per_scene = np.zeros((scenes, capture_sums.shape[-1]))
        np.add.at(per_scene, self.scene_of, capture_sums)
        return score_array(self.weights @ per_scene)

    def bounds(self, resampled: Double) -> Bounds:
        """Low and high end of the 95 % percentile interval of `[B]` values; None for one scene."""
        values = resampled[np.isfinite(resampled)]
        if self.weights.shape[1] < 2 or not len(values):
            return [None, None]
        tail = (1.0 - _CONFIDENCE) / 2
        return [json_number(end) for end in np.quantile(values, (tail, 1.0 - tail))]


def score_bounds(bootstrap: SceneBootstrap, capture_sums: Double) -> dict[str, Bounds]:
    """95 % interval of every score and coverage of one model.

    Args:
        bootstrap: The resamples.
        capture_sums: `[captures, len(SUMS)]`.

    Returns:
        Name of the score to [low, high].
    """
    resampled = bootstrap.resampled(capture_sums)
    return {name: bootstrap.bounds(resampled[:, i]) for i, name in enumerate(SUMS[1:])}


def score_ratios(
    bootstrap: SceneBootstrap, capture_sums: Double, reference_sums: Double
) -> dict[str, dict[str, float | None]]:
    """Ratio of one model's scores to another's, on the same resamples.

    Args:
        bootstrap: The resamples.
        capture_sums: `[captures, len(SUMS)]` of the model.
        reference_sums: The same of the model it is compared with.

    Returns:
        Name of the score to its ratio and the ends of the 95 % interval.
    """
    with np.errstate(invalid="ignore", divide="ignore"):
        ratio = score_array(capture_sums.sum(0)) / score_array(reference_sums.sum(0))
        spread = bootstrap.resampled(capture_sums) / bootstrap.resampled(reference_sums)
    answer = {}
    for i, name in enumerate(SCORES):
        low, high = bootstrap.bounds(spread[:, i])
        answer[name] = {"ratio": json_number(ratio[i]), "low": low, "high": high}
    return answer
