"""What models predict for a photo, whatever computes it: arrays, without torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Float = NDArray[np.float32]
INTERVAL_LEVELS = (0.5, 0.8, 0.95)  # of the intervals that are scored
REPORTED_LEVEL = 0.8  # of the intervals that commands report


@dataclass(frozen=True)
class Sides:
    """A prediction by the defocus sign: whether the truth lies before or behind the focus.

    Attributes:
        before_probability: `[H, W]` probability that the truth is nearer than the focus.
        before_m: `[H, W]` distance [m] if it is.
        behind_m: `[H, W]` distance [m] if it is not.
    """

    before_probability: Float
    before_m: Float
    behind_m: Float


@dataclass(frozen=True)
class TwoDistances:
    """Both distances between which predictions are undecided: `[..., 2]`, the nearer one first.

    All are NaN where there is one distance.

    Attributes:
        distance_m: Distance [m], given that the truth is within its interval.
        share: Probability of its interval, given that the truth is within one of the two.
        near_m: Near end [m] of its interval; both together should hold the truth with the
            probability of the interval that commands report.
        far_m: Far end [m].
    """

    distance_m: Float
    share: Float
    near_m: Float
    far_m: Float

    @property
    def maps(self) -> tuple[Float, Float, Float, Float]:
        """All four, in this order."""
        return self.distance_m, self.share, self.near_m, self.far_m


@dataclass(frozen=True)
class Prediction:
    """What a model predicts for one photo, on all of its pixels.

    Attributes:
        distance_m: `[H, W]` distance [m]; NaN where there is none.
        interval_m: For each level the near and far end `[H, W]` [m] of the central interval that
            should hold the truth with that probability.
        sd_dpt: `[H, W]` standard deviation of inverse distance [dpt], if it was asked for.
        accuracy_probability: `[H, W]` probability that the relative error is below 10 %, if it was
            asked for.
        sides: The prediction by the defocus sign, if it was asked for.
        two_distances: `[H, W, 2]`, if they were asked for.
    """

    distance_m: Float
    interval_m: Mapping[float, tuple[Float, Float]]
    sd_dpt: Float | None = None
    accuracy_probability: Float | None = None
    sides: Sides | None = None
    two_distances: TwoDistances | None = None


def accuracy_of(prediction: Prediction) -> Float:
    """The accuracy probability `[H, W]` of a prediction that was asked for it."""
    assert prediction.accuracy_probability is not None
    return prediction.accuracy_probability
