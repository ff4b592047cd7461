"""What a sensor adds to the light: shot noise, read noise and quantisation."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from rangefinder.config import NoiseParams

MANY = 500.0  # electrons from which a normal distribution is as good as Poisson's, and quicker


def expose(
    image: Tensor, exposure: float, params: NoiseParams, generator: np.random.Generator
) -> Tensor:
    """Photograph a noiseless picture.

    Electrons are Poisson distributed; the amplifier adds Gaussian noise; the converter rounds and
    clips. `noise_sd` says how much that is.

    Args:
        image: `[3, H, W]` linear light; negative values count as 0.
        exposure: Share of full scale that a value of 1 reaches.
        params: Full well, read noise and bits.
        generator: Source of chance.

    Returns:
        `[3, H, W]` float32, 0..1, on the steps of the converter.
    """
    light = image.detach().cpu().float().numpy()
    electrons = _shot(light.clip(min=0.0) * np.float32(exposure * params.full_well_e), generator)
    noise = generator.standard_normal(light.shape, dtype=np.float32) * params.read_noise_e
    steps = 2**params.bits - 1
    counts = np.rint((electrons + noise) * (steps / params.full_well_e)).clip(0, steps)
    return torch.from_numpy((counts / steps).astype(np.float32))


def noise_sd(light: Tensor, params: NoiseParams) -> Tensor:
    """Standard deviation of what the sensor adds to a photo's light, without rounding.

    Args:
        light: Mean, any shape, share of full scale.
        params: Full well and read noise.

    Returns:
        The same shape, share of full scale.
    """
    read = params.read_noise_e / params.full_well_e
    return torch.sqrt(light / params.full_well_e + read**2)


def _shot(mean: NDArray[np.float32], generator: np.random.Generator) -> NDArray[np.float32]:
    """Poisson distributed numbers of electrons, any shape."""
    electrons = generator.standard_normal(mean.shape, dtype=np.float32)
    electrons *= np.sqrt(mean)
    electrons += mean
    few = mean < MANY
    electrons[few] = generator.poisson(mean[few])
    return electrons
