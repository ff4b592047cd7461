"""Photos changed as cameras and editors change them, to learn what each change costs a model.

These are no augmentations: they change blur, hence distance, and nothing is trained on them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import ndimage
from torch import Tensor
from torch.nn import functional as F

from rangefinder.captures.images import resize_sharp
from rangefinder.config import Chroma
from rangefinder.optics.sensor import linear_to_srgb, srgb_to_linear, through_jpeg
from rangefinder.photo_domain import JPEG_STEPS, jpeg_kind

Change = Callable[[Tensor], Tensor]
UNSHARP_SD_PX = 1.5  # of the blur that an unsharp mask subtracts


def _grey(image: Tensor) -> Tensor:
    """The mean of the colours in each of them."""
    return image.mean(dim=0, keepdim=True).expand(3, -1, -1).contiguous()


def _gamma(image: Tensor) -> Tensor:
    """Values encoded as sRGB, taken for linear light."""
    return torch.from_numpy(linear_to_srgb(image.numpy()))


def _dark(image: Tensor, bits: int) -> Tensor:
    """Values of so many bits in 16-bit samples."""
    return image * (2.0**bits - 1) / (2**16 - 1)


def _sharpened(image: Tensor, amount: float) -> Tensor:
    """Unsharp masking of sRGB values."""
    encoded = linear_to_srgb(image.numpy())
    blurred: NDArray[np.float32] = ndimage.gaussian_filter(
        encoded, (0, UNSHARP_SD_PX, UNSHARP_SD_PX)
    )
    return torch.from_numpy(srgb_to_linear((encoded + amount * (encoded - blurred)).clip(0, 1)))


def _smoothed(image: Tensor, factor: float) -> Tensor:
    """Reduced by a factor, and enlarged again."""
    height, width = image.shape[1:]
    size = round(height / factor), round(width / factor)
    small = F.interpolate(image[None], size=size, mode="area")[0]
    return resize_sharp(small, height, width)


def _mosaic(image: Tensor) -> Tensor:
    """Sampled by a Bayer colour filter array and interpolated bilinearly."""
    mask = torch.zeros_like(image)
    mask[0, ::2, ::2] = mask[1, ::2, 1::2] = mask[1, 1::2, ::2] = mask[2, 1::2, 1::2] = 1
    side = torch.tensor([0.5, 1.0, 0.5])
    kernel = torch.outer(side, side)[None, None]
    value, weight = (
        F.conv2d(F.pad(planes[:, None], (1, 1, 1, 1), mode="reflect"), kernel)[:, 0]
        for planes in (image * mask, mask)
    )
    return value / weight


def changes() -> Mapping[str, Change]:
    """Changes of linear light `[3, H, W]` by the kind of shift that they stand for."""
    chroma: tuple[Chroma, ...] = ("4:4:4", "4:2:0")
    jpegs = {
        jpeg_kind(quality, name): partial(through_jpeg, quality=quality, chroma=name)
        for quality in JPEG_STEPS
        for name in chroma
    }
    return {
        **jpegs,
        "half_chroma": partial(through_jpeg, quality=100, chroma="4:2:0"),
        "grey": _grey,
        "gamma": _gamma,
        "mosaic": _mosaic,
        "dark_10_bits": partial(_dark, bits=10),
        "dark_12_bits": partial(_dark, bits=12),
        "dark_14_bits": partial(_dark, bits=14),
        "sharpened_half": partial(_sharpened, amount=0.5),
        "sharpened_once": partial(_sharpened, amount=1.0),
        "sharpened_twice": partial(_sharpened, amount=2.0),
        "smoothed_1.5": partial(_smoothed, factor=1.5),
        "smoothed_2": partial(_smoothed, factor=2.0),
    }
