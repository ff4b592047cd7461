"""Photos that lose texture here and there before a student sees them.

A teacher's answer depends on its patch alone, so a student that sees the same photo can learn no
more than to repeat it. Where texture fades for the student, but not for the teacher, the student
has to find the answer in the neighbourhood, which is what surfaces that are faint by nature ask of
it. (A student is shown less than its teacher: Xie et al., Self-training with noisy student, 2020.)
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from rangefinder.config import NoiseParams
from rangefinder.optics.noise import noise_sd

LEAST_CONTRAST = 0.05  # that is left of what there was
REGIONS = (4, 5)  # along a photo's height and width, each with a light and a contrast of its own
OVERSHOOT = 0.5  # of contrasts beyond none and all, so that many regions have just that


@dataclass(frozen=True)
class Fading:
    """Brings light closer to that of the region, and noise back to what the sensor adds.

    Attributes:
        share: Photos that fade.
        noise: Of the sensor.
    """

    share: float
    noise: NoiseParams

    def __call__(self, image: Tensor, rng: np.random.Generator) -> Tensor:
        """Linear light `[3, H, W]`, 0..1 -> the same with less texture in parts, or unchanged."""
        if rng.random() >= self.share:
            return image
        size = (image.shape[1], image.shape[2])
        light = _smooth(F.adaptive_avg_pool2d(image, REGIONS), size)
        contrast = _contrast(size, rng)
        lost = noise_sd(light, self.noise) * torch.sqrt(1 - contrast.square())
        return torch.lerp(light, image, contrast).addcmul_(_normal(image.shape, rng), lost)


def _normal(shape: torch.Size, rng: np.random.Generator) -> Tensor:
    """Standard normal numbers: torch draws three while numpy draws one."""
    chance = torch.Generator().manual_seed(int(rng.integers(2**63)))
    return torch.randn(shape, generator=chance)


def _contrast(size: tuple[int, int], rng: np.random.Generator) -> Tensor:
    """What is left of contrast, `[1, H, W]`: anything between `LEAST_CONTRAST` and all of it."""
    faded = rng.uniform(-OVERSHOOT, 1 + OVERSHOOT, (1, *REGIONS)).astype(np.float32)
    field = _smooth(torch.from_numpy(faded), size).clamp_(0, 1)
    return field.mul_(math.log(LEAST_CONTRAST)).exp_()


def _smooth(regions: Tensor, size: tuple[int, int]) -> Tensor:
    """`[C, rows, cols]` -> `[C, *size]`."""
    return F.interpolate(regions[None], size=size, mode="bilinear", align_corners=False)[0]
