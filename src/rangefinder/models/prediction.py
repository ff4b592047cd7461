"""What models predict for a photo, whatever computes it: arrays, without torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Float = NDArray[np.float32]
INTERVAL_LEVELS = (0.5, 0.8, 0.95)  # of the intervals that are scored


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
    """

    distance_m: Float
    interval_m: Mapping[float, tuple[Float, Float]]
    sd_dpt: Float | None = None
    accuracy_probability: Float | None = None
    sides: Sides | None = None


def accuracy_of(prediction: Prediction) -> Float:
    """The accuracy probability `[H, W]` of a prediction that was asked for it."""
    assert prediction.accuracy_probability is not None
    return prediction.accuracy_probability
