"""Two distances: how often their intervals hold the truth, and how wide they are, beside the one.

Scored are the intervals that are given: both where two distances are possible, else the one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rangefinder.evaluation.metrics import Double, Float, json_number
from rangefinder.evaluation.regions import ScoredPixels
from rangefinder.models.prediction import REPORTED_LEVEL, Prediction

SCORES = ("coverage", "width_m", "width_dpt")
Ends = tuple[Float, Float]  # near and far [m]


@dataclass(frozen=True)
class TwoDistanceSums:
    """Sums over the scored pixels of one model, capture by capture.

    Attributes:
        pixels: `[captures, 2]`: all, and those with two distances.
        sums: `[captures, 2, 2, len(SCORES)]`: the same, of the intervals given and of the one.
    """

    pixels: Double
    sums: Double

    @classmethod
    def empty(cls, captures: int) -> TwoDistanceSums:
        """Of so many captures, nothing added yet."""
        return cls(np.zeros((captures, 2)), np.zeros((captures, 2, 2, len(SCORES))))

    def add(self, index: int, scored: ScoredPixels, prediction: Prediction) -> None:
        """Add the pixels of capture `index` that lie within the support."""
        flat, truth_m = scored.flat[scored.inside], scored.truth_m[scored.inside]
        near, far = prediction.interval_m[REPORTED_LEVEL]
        one = _values(truth_m, (near.ravel()[flat], far.ravel()[flat]))
        every: NDArray[np.bool_] = np.ones(len(flat), dtype=np.bool_)
        given, divided = one, ~every
        if (both := prediction.two_distances) is not None:
            near, far = (ends.reshape(-1, 2)[flat] for ends in (both.near_m, both.far_m))
            divided = np.isfinite(near[:, 0])
            found = sum(_values(truth_m, (near[:, i], far[:, i])) for i in range(2))
            given = np.where(divided, found, one)
        for group, chosen in enumerate((every, divided)):
            self.pixels[index, group] = chosen.sum()
            for which, values in enumerate((given, one)):
                self.sums[index, group, which] = values[:, chosen].sum(axis=-1)

    def of(self, captures: Sequence[int] | NDArray[np.intp]) -> TwoDistanceSums:
        """The same of some captures."""
        return TwoDistanceSums(self.pixels[captures], self.sums[captures])

    def scores(self) -> dict[str, Any]:
        """Coverage and mean total width of the intervals given, and of the one in their place.

        `share` is that of pixels with two distances; `all` are the scores over all pixels, `two`
        over those. None where there are no pixels.
        """
        pixels, sums = self.pixels.sum(axis=0), self.sums.sum(axis=0)
        with np.errstate(invalid="ignore", divide="ignore"):
            means, share = sums / pixels[:, None, None], pixels[1] / pixels[0]

        def named(values: Double) -> dict[str, float | None]:
            return dict(zip(SCORES, map(json_number, values), strict=True))

        groups = {
            name: {"given": named(given), "one_interval": named(one)}
            for name, (given, one) in zip(("all", "two"), means, strict=True)
        }
        return {"level": REPORTED_LEVEL, "share": json_number(share), **groups}


def _values(truth_m: Float, ends_m: Ends) -> Double:
    """`[len(SCORES), N]` of one interval: whether it holds the truth, width [m], width [dpt]."""
    near, far = (end.astype(np.float64) for end in ends_m)
    return np.stack([(near <= truth_m) & (truth_m <= far), far - near, 1 / near - 1 / far])
