"""What a sensor adds to the light: shot noise, read noise and quantisation."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from rangefinder.config import NoiseParams


def expose(
    image: Tensor, exposure: float, params: NoiseParams, generator: np.random.Generator
) -> Tensor:
    """Photograph a noiseless picture.

    Electrons are Poisson distributed; the amplifier adds Gaussian noise; the converter rounds and
    clips. In units of full scale the variance is mean / full well + (read noise / full well)^2.

    Args:
        image: `[3, H, W]` linear light; negative values count as 0.
        exposure: Share of full scale that a value of 1 reaches.
        params: Full well, read noise and bits.
        generator: Source of chance.

    Returns:
        `[3, H, W]` float32, 0..1, on the steps of the converter.
    """
    light = image.detach().cpu().numpy()
    electrons = generator.poisson(light.clip(min=0.0) * (exposure * params.full_well_e))
    noise = generator.standard_normal(light.shape, dtype=np.float32) * params.read_noise_e
    steps = 2**params.bits - 1
    counts = np.rint((electrons + noise) * (steps / params.full_well_e)).clip(0, steps)
    return torch.from_numpy((counts / steps).astype(np.float32))
