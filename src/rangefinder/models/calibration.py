"""Calibration of a model's predictive distribution, fitted on validation captures.

Intervals are recalibrated so that they hold the truth with the probability of their level (quantile
recalibration: Kuleshov et al., Accurate Uncertainties for Deep Learning Using Calibrated
Regression, 2018). And a student's posterior is tilted by a power of inverse distance: the Bayes
estimate for relative error is biased to near distances, where an error is at most 1, and too much
so for too wide posteriors.

Where distributions have two modes, the region of highest density is calibrated on such cells alone
(by groups: Vovk, Lindsay, Nouretdinov and Gammerman, Mondrian Confidence Machine, 2003).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Self

import numpy as np
from pydantic import Field

from rangefinder.config import Interval, Strict
from rangefinder.models.modes import Modes, held_by_mass

if TYPE_CHECKING:
    from torch import Tensor

    from rangefinder.models.distribution import DistanceDistribution

CALIBRATION_LEVELS = (*(round(0.05 * step, 2) for step in range(1, 20)), 0.99)
Share = Annotated[float, Field(ge=0, le=1 + 1e-6)]  # rounded
TILT_RANGE = (-1.5, 1.5)
TILT_TOLERANCE = 0.02
LEAST_CELLS = 1000  # with two modes, to calibrate their region


class Calibration(Strict):
    """Fitted on validation captures, for one model."""

    central: tuple[Share, ...] = Field(
        min_length=len(CALIBRATION_LEVELS),
        max_length=len(CALIBRATION_LEVELS),
        description="central mass that held the truth as often as CALIBRATION_LEVELS",
    )
    two_modes: tuple[Share, ...] | None = Field(
        None,
        min_length=len(CALIBRATION_LEVELS),
        max_length=len(CALIBRATION_LEVELS),
        exclude_if=lambda masses: masses is None,  # models of before keep their fingerprint
        description="mass of the highest-density region that held the truth as often, where "
        "distributions have two modes; None: there were too few, `central` is taken",
    )
    tilt_power: float = Field(
        0.0,
        ge=TILT_RANGE[0],
        le=TILT_RANGE[1],
        description="posterior tilting: power of inverse distance",
    )

    @classmethod
    def fit(
        cls,
        distribution: DistanceDistribution,
        probs: Tensor,
        truth_dpt: Tensor,
        tilt_m: Interval | None = None,
    ) -> Self:
        """Fit intervals, and tilting if asked for.

        Args:
            distribution: Bins and decoding.
            probs: `[N, bins]` predicted probabilities.
            truth_dpt: `[N]` true inverse distance [dpt].
            tilt_m: Distances whose mean relative error tilting minimises [m]; None: no tilting.
        """
        tilt_power = _fit_tilt(distribution, probs, truth_dpt, tilt_m) if tilt_m else 0.0
        probs = distribution.tilted(probs, tilt_power)
        return cls(
            central=fitted_central(distribution, probs, truth_dpt),
            two_modes=_fit_two_modes(distribution, probs, truth_dpt),
            tilt_power=tilt_power,
        )


def fitted_central(
    distribution: DistanceDistribution, probs: Tensor, truth_dpt: Tensor
) -> tuple[float, ...]:
    """Central masses of distributions that hold the truth as often as `CALIBRATION_LEVELS`.

    Arguments as those of `Calibration.fit`.
    """
    below = distribution.probability_between(
        probs, truth_dpt.new_full(truth_dpt.shape, -1.0), truth_dpt
    )
    mass = (2 * below.double() - 1).abs()
    return tuple(np.quantile(mass.numpy(), CALIBRATION_LEVELS).tolist())


def _fit_two_modes(
    distribution: DistanceDistribution, probs: Tensor, truth_dpt: Tensor
) -> tuple[float, ...] | None:
    """Masses of divided regions that hold the truth as often as `CALIBRATION_LEVELS`, if many."""
    found = Modes.of(probs.numpy()).found
    if found.sum() < LEAST_CELLS:
        return None
    centres, truth = distribution.centres_dpt.double().numpy(), truth_dpt.double().numpy()
    masses, shares = held_by_mass(probs.numpy()[found], truth[found], centres)
    held = np.maximum.accumulate(np.append(shares, 1.0))
    return tuple(np.interp(CALIBRATION_LEVELS, held, np.append(masses, 1.0)).tolist())


def central_mass(central: Sequence[float], level: float) -> float:
    """Central mass of a distribution that holds the truth with probability `level`.

    `central` is that of a `Calibration`.
    """
    return float(np.interp(level, (0.0, *CALIBRATION_LEVELS, 1.0), (0.0, *central, 1.0)))


def level_of_mass(central: Sequence[float], mass: float) -> float:
    """The level whose `central_mass` this is."""
    return float(np.interp(mass, (0.0, *central, 1.0), (0.0, *CALIBRATION_LEVELS, 1.0)))


def _fit_tilt(
    distribution: DistanceDistribution, probs: Tensor, truth_dpt: Tensor, tilt_m: Interval
) -> float:
    """The power of least mean relative error; 0 if no truth lies within the range."""
    from scipy.optimize import minimize_scalar

    near_m, far_m = tilt_m
    inside = (truth_dpt >= 1 / far_m) & (truth_dpt <= 1 / near_m)
    if not inside.any():
        return 0.0
    probs, truth_dpt = probs[inside], truth_dpt[inside]

    def error(power: float) -> float:
        estimate_dpt = distribution.estimate_dpt(distribution.tilted(probs, power))
        return float((truth_dpt / estimate_dpt - 1).abs().mean())

    found = minimize_scalar(
        error, bounds=TILT_RANGE, method="bounded", options={"xatol": TILT_TOLERANCE}
    )
    return round(float(found.x), 2)
