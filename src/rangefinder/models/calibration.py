"""Levels of intervals set right: how much of a predicted distribution holds the truth how often.

The estimate is not touched. What is learned is one curve per model, on scenes that were not trained
on (quantile recalibration: Kuleshov et al., Accurate Uncertainties for Deep Learning Using
Calibrated Regression, 2018).
"""

from __future__ import annotations

from typing import Self

import numpy as np
import torch
from pydantic import Field
from torch import Tensor

from rangefinder.strict import Strict

LEVELS = (*(round(0.05 * step, 2) for step in range(1, 20)), 0.99)


class Calibration(Strict):
    """The curve of one model."""

    central: tuple[float, ...] = Field(
        min_length=len(LEVELS),
        max_length=len(LEVELS),
        description="central part of the distribution that held the truth as often as LEVELS say",
    )

    @classmethod
    def fit(cls, below: Tensor) -> Self:
        """Learn the curve.

        Args:
            below: `[N]` what the predicted distributions say of the truth: the probability that
                inverse distance lies below it, 0 to 1.
        """
        part = (2 * below.double() - 1).abs()
        levels = torch.tensor(LEVELS, dtype=torch.float64)
        return cls(central=tuple(np.quantile(part.numpy(), levels.numpy()).tolist()))

    def part(self, level: float) -> float:
        """Central part of a distribution that holds the truth with probability `level`."""
        return float(np.interp(level, (0.0, *LEVELS, 1.0), (0.0, *self.central, 1.0)))
