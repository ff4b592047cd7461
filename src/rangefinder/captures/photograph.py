"""From the light on the sensor to the photo that the camera hands out."""

from __future__ import annotations

import numpy as np
from torch import Tensor

from rangefinder.captures.images import through_jpeg
from rangefinder.config import NoiseParams
from rangefinder.optics.noise import expose


def photograph(
    light: Tensor, exposure: float, params: NoiseParams, generator: np.random.Generator
) -> Tensor:
    """Noise of the sensor, then JPEG where the camera writes it.

    Args:
        light: `[3, H, W]` linear light, at most 1.
        exposure: Share of full scale that a value of 1 reaches.
        params: Noise, bits and quality.
        generator: Source of chance.

    Returns:
        `[3, H, W]` float32 linear light, 0..1.
    """
    photo = expose(light, exposure, params, generator)
    return photo if params.jpeg_quality is None else through_jpeg(photo, params.jpeg_quality)
