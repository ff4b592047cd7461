"""Augmentations that change no label: mirroring, photometric jitter, contrast attenuation.

Resizing, blurring, sharpening and JPEG change the blur, hence the distance, and are not among them.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from rangefinder.config import NoiseParams, TeacherParams
from rangefinder.optics.sensor import noise_sd

REGIONS = (4, 5)  # along a photo's height and width, each with a mean and a contrast of its own
OVERSHOOT = 0.5  # beyond no and full attenuation before clipping, so that many regions have either


def mirror(item: dict[str, Tensor], rng: np.random.Generator) -> dict[str, Tensor]:
    """Mirror photo, location map, labels and targets alike, at random along both axes.

    Valid only for a rotationally symmetric lens, and for targets whose grid is as far from either
    of two opposite edges (see `PatchGrid.covered_px`).

    Args:
        item: image `[3, H, W]`, location `[2, h, w]`; optional inverse_dpt `[h, w]`, targets
            `[rows, cols, bytes]` and negentropy `[rows, cols]`.
        rng: Source of randomness.
    """
    for axis, component in ((2, 0), (1, 1)):
        if rng.random() < 0.5:
            continue
        location = item["location"].flip(axis).clone()
        location[component] *= -1
        item = item | {"image": item["image"].flip(axis), "location": location}
        for name in ("inverse_dpt", "targets", "negentropy"):
            if name in item:
                item[name] = item[name].flip(axis - 1)
    return item


def photometric_jitter(image: Tensor, params: TeacherParams, rng: np.random.Generator) -> Tensor:
    """Random exposure and white balance of linear light `[3, h, w]`."""
    exposure = rng.normal(0, params.jitter_sd, 3) + rng.uniform(
        math.log(params.jitter_min_exposure), 0
    )
    return image * torch.from_numpy(np.exp(exposure)).float()[:, None, None]


@dataclass(frozen=True)
class ContrastAttenuation:
    """Attenuates local contrast of a student's input while its targets are kept.

    The teacher's posterior depends on its patch alone, so a student with the same input can learn
    no more than to repeat it. Where contrast is attenuated for the student only, it has to use the
    neighbourhood, as weak texture demands (noisy student: Xie et al., Self-training with noisy
    student improves ImageNet classification, 2020).
    """

    share: float  # photos that are attenuated, 0..1
    min_contrast: float  # least factor of local contrast
    noise: NoiseParams  # of the sensor, restored to its level after attenuation

    def __call__(self, image: Tensor, rng: np.random.Generator) -> Tensor:
        """Linear light `[3, H, W]`, 0..1 -> the same shape, attenuated in parts or unchanged."""
        if rng.random() >= self.share:
            return image
        size = (image.shape[1], image.shape[2])
        mean = _upsample(F.adaptive_avg_pool2d(image, REGIONS), size)
        contrast = self._contrast(size, rng)
        lost_sd = noise_sd(mean, self.noise) * torch.sqrt(1 - contrast.square())
        return torch.lerp(mean, image, contrast).addcmul_(_normal(image.shape, rng), lost_sd)

    def _contrast(self, size: tuple[int, int], rng: np.random.Generator) -> Tensor:
        """Factor of contrast `[1, H, W]`, log-uniform between `min_contrast` and 1."""
        depth = rng.uniform(-OVERSHOOT, 1 + OVERSHOOT, (1, *REGIONS)).astype(np.float32)
        field = _upsample(torch.from_numpy(depth), size).clamp_(0, 1)
        return field.mul_(math.log(self.min_contrast)).exp_()


def _normal(shape: torch.Size, rng: np.random.Generator) -> Tensor:
    """Standard normal numbers; torch's generator is three times as fast as NumPy's."""
    generator = torch.Generator().manual_seed(int(rng.integers(2**63)))
    return torch.randn(shape, generator=generator)


def _upsample(regions: Tensor, size: tuple[int, int]) -> Tensor:
    """`[C, rows, cols]` -> `[C, *size]`, bilinear."""
    return F.interpolate(regions[None], size=size, mode="bilinear", align_corners=False)[0]
