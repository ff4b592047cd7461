"""Before and behind the focus: errors on either side, with the sign known, and AUC of the sign.

Points before and behind the focus can have the same blur. Errors that a known side would take away
are front/back confusion; what is left is the blur's.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rangefinder.evaluation.metrics import (
    SUMS,
    Double,
    Float,
    json_number,
    pixel_sums,
    relative_error,
    scores,
)
from rangefinder.evaluation.regions import SIDES, ScoredPixels
from rangefinder.models.prediction import Prediction

Counts = NDArray[np.int64]
_BINS = 1024  # of log-odds
_MOST = 16.0  # log-odds; more share the end bins


@dataclass(frozen=True)
class SideSums:
    """Sums over the scored pixels of one model by true side, capture by capture.

    Attributes:
        sums: `[captures, side, len(SUMS)]`, as of `pixel_sums`.
        known: `[captures, side]` sums of the relative error of the estimate given the true side.
        counts: `[captures, side, 1024]` pixels by the log-odds of the truth being before the focus.
            `known` and `counts` are 0 for models that do not predict the side.
    """

    sums: Double
    known: Double
    counts: Counts

    @classmethod
    def empty(cls, captures: int) -> SideSums:
        """Of so many captures, nothing added yet."""
        sides = (captures, len(SIDES))
        counts = np.zeros((*sides, _BINS), dtype=np.int64)
        return cls(np.zeros((*sides, len(SUMS))), np.zeros(sides), counts)

    def add(self, index: int, scored: ScoredPixels, prediction: Prediction) -> None:
        """Add the pixels of capture `index` that lie within the support."""
        flat, truth_m = scored.flat[scored.inside], scored.truth_m[scored.inside]
        side = scored.side[scored.inside]
        self.sums[index] = pixel_sums(truth_m, prediction, flat, side, len(SIDES))
        if prediction.sides is None:
            return
        before_m, behind_m, probability = (
            values.ravel()[flat]
            for values in (
                prediction.sides.before_m,
                prediction.sides.behind_m,
                prediction.sides.before_probability,
            )
        )
        error = relative_error(truth_m, np.where(side == 0, before_m, behind_m))
        self.known[index] = np.bincount(side, error.astype(np.float64), len(SIDES))
        cells = np.bincount(side * _BINS + _log_odds_bin(probability), minlength=len(SIDES) * _BINS)
        self.counts[index] = cells.reshape(len(SIDES), _BINS)

    def of(self, captures: Sequence[int] | NDArray[np.intp]) -> SideSums:
        """The same of some captures."""
        return SideSums(self.sums[captures], self.known[captures], self.counts[captures])

    def pixels(self) -> dict[str, int]:
        """Number of pixels on each side."""
        return {name: int(n) for name, n in zip(SIDES, self.sums[..., 0].sum(axis=0), strict=True)}

    def by_side(self) -> dict[str, Any]:
        """The seven scores before and behind the focus."""
        pooled = self.sums.sum(axis=0)
        return {name: scores(part) for name, part in zip(SIDES, pooled, strict=True)}

    def defocus_sign(self) -> dict[str, Any] | None:
        """How well the sign is predicted, and AbsRel if it were known; None without a prediction.

        `auc` is the area under the ROC curve of the probability that the truth is before the focus,
        over all pixels; None where these are all on one side.
        """
        if not self.counts.any():
            return None
        pixels, known = self.sums[..., 0].sum(axis=0), self.known.sum(axis=0)
        with np.errstate(invalid="ignore", divide="ignore"):
            sides = dict(zip(SIDES, map(json_number, known / pixels), strict=True))
            overall = json_number(known.sum() / pixels.sum())
        false_share, true_share = self.roc()
        area = float(np.trapezoid(true_share, false_share))
        return {"auc": json_number(area), "abs_rel_if_known": {"overall": overall, **sides}}

    def roc(self) -> tuple[Double, Double]:
        """Shares `[1025]` of pixels behind, and before the focus, with at least each probability.

        Points of the receiver operating characteristic; pixels of one bin of log-odds are ties. NaN
        where there are no pixels on a side.
        """
        reached = np.cumsum(self.counts.sum(axis=0)[:, ::-1], axis=1)
        with np.errstate(invalid="ignore"):
            before, behind = np.pad(reached, ((0, 0), (1, 0))) / reached[:, -1:]
        return behind, before


def _log_odds_bin(probability: Float) -> NDArray[np.intp]:
    """Bin of each probability `[N]`, of equal width in log-odds."""
    exact = np.clip(probability.astype(np.float64), 1e-9, 1 - 1e-9)
    place = (np.log(exact / (1 - exact)) / _MOST + 1) * (_BINS / 2)
    return np.asarray(np.clip(place, 0, _BINS - 1), dtype=np.intp)
