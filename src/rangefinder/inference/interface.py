"""What is asked of a predictor and what it gives, whichever runtime computes it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from rangefinder.coordinates import Placement
from rangefinder.models.card import Card
from rangefinder.models.prediction import (
    INTERVAL_LEVELS,
    REPORTED_LEVEL,
    Float,
    Prediction,
    TwoDistances,
)
from rangefinder.photo_domain import Shift

Runtime = Literal["torch", "onnx", "openvino", "auto"]
ACCURATE_WITHIN = 0.1  # relative error below which a prediction counts as accurate
WHOLE = Placement()  # the whole stored image


@dataclass(frozen=True)
class Outputs:
    """Which outputs are asked for beside the distance.

    Attributes:
        levels: Of intervals.
        accuracy: Accuracy probability.
        sd: Standard deviation.
        sides: The prediction by the defocus sign.
        two_distances: Both distances, where two are possible.
    """

    levels: tuple[float, ...] = (REPORTED_LEVEL,)
    accuracy: bool = True
    sd: bool = False
    sides: bool = False
    two_distances: bool = False


REPORTED = Outputs()
DISTANCE_ONLY = Outputs(levels=(), accuracy=False)
FOR_SCORES = Outputs(INTERVAL_LEVELS, accuracy=False, sd=True, sides=True, two_distances=True)


class PhotoPosterior(Protocol):
    """Predictive distributions of one photo, to be decoded."""

    def decode(self, outputs: Outputs = ...) -> Prediction:
        """Maps `[H, W]` of what is asked for."""

    def two_distances(
        self, rows: NDArray[np.integer], columns: NDArray[np.integer]
    ) -> TwoDistances:
        """Both distances, where the posterior of a pixel's cell has two modes.

        Args:
            rows: `[h]` of the pixels, in the photo as it is stored.
            columns: `[w]` likewise.

        Returns:
            `[h, w, 2]`, with intervals of `REPORTED_LEVEL` together (see `models.modes`).
        """


class PhotoPredictor(Protocol):
    """Predicts photos with one model."""

    @property
    def card(self) -> Card:
        """The model's card."""

    @property
    def fingerprint(self) -> str:
        """Hash of weights and card."""

    def posterior(
        self, image: Float, placement: Placement = ..., shifts: tuple[Shift, ...] = ()
    ) -> PhotoPosterior:
        """Predictive distributions of one photo.

        Blur is learned in pixels of the stored image, so a photo of another scale is first brought
        to that of the camera record.

        Args:
            image: `[3, H, W]` linear light.
            placement: Where it sits on the sensor.
            shifts: Domain shifts of the photo, for which intervals are widened.

        Raises:
            CaptureError: If the photo is smaller than a patch.
        """
