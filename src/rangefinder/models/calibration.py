"""How predicted distributions are to be read: what one model learned on scenes held out for that.

Intervals are to hold the truth as often as they say: the central part of a distribution is taken
that did (quantile recalibration: Kuleshov et al., Accurate Uncertainties for Deep Learning Using
Calibrated Regression, 2018).

And a student's distributions are multiplied by a power of inverse distance. The estimate of least
expected relative error (`Prediction.estimate_dpt`) leans to the near side, where an error is never
larger than 1; of distributions that are wider than they need be it leans too far. So that power is
learned with which it errs least. Teachers gained nothing by it on other scenes.
"""

from __future__ import annotations

from typing import Self

import numpy as np
import torch
from pydantic import Field
from torch import Tensor

from rangefinder.config import Interval
from rangefinder.models.prediction import Prediction
from rangefinder.strict import Strict

LEVELS = (*(round(0.05 * step, 2) for step in range(1, 20)), 0.99)
NEARNESS = (-1.5, 1.5)  # range of the power
EXACT = 0.02  # how exactly it is looked for


class Calibration(Strict):
    """What one model learned."""

    central: tuple[float, ...] = Field(
        min_length=len(LEVELS),
        max_length=len(LEVELS),
        description="central part of the distribution that held the truth as often as LEVELS say",
    )
    nearness: float = Field(
        0.0,
        ge=NEARNESS[0],
        le=NEARNESS[1],
        description="power of inverse distance that distributions are multiplied by",
    )

    @classmethod
    def fit(
        cls,
        prediction: Prediction,
        probs: Tensor,
        truth_dpt: Tensor,
        report_m: Interval | None = None,
    ) -> Self:
        """Learn both, or the levels of intervals only.

        Args:
            prediction: What the distributions mean.
            probs: `[N, bins]` predicted probabilities.
            truth_dpt: `[N]` true inverse distance [dpt].
            report_m: Distances among which the estimate is to err least, relative to them; None:
                distributions are read as they are.
        """
        nearness = _nearness(prediction, probs, truth_dpt, report_m) if report_m else 0.0
        read = prediction.reweighted(probs, nearness)
        below = prediction.probability_between(read, torch.full_like(truth_dpt, -1.0), truth_dpt)
        part = (2 * below.double() - 1).abs()
        return cls(central=tuple(np.quantile(part.numpy(), LEVELS).tolist()), nearness=nearness)

    def part(self, level: float) -> float:
        """Central part of a distribution that holds the truth with probability `level`."""
        return float(np.interp(level, (0.0, *LEVELS, 1.0), (0.0, *self.central, 1.0)))


def _nearness(
    prediction: Prediction, probs: Tensor, truth_dpt: Tensor, report_m: Interval
) -> float:
    """The power with which the estimate errs least; 0 if no truth lies within the range."""
    from scipy.optimize import minimize_scalar

    near_m, far_m = report_m
    inside = (truth_dpt >= 1 / far_m) & (truth_dpt <= 1 / near_m)
    if not inside.any():
        return 0.0
    probs, truth_dpt = probs[inside], truth_dpt[inside]

    def error(power: float) -> float:
        estimate_dpt = prediction.estimate_dpt(prediction.reweighted(probs, power))
        return float((truth_dpt / estimate_dpt - 1).abs().mean())

    found = minimize_scalar(error, bounds=NEARNESS, method="bounded", options={"xatol": EXACT})
    return round(float(found.x), 2)
