"""Photos changed as cameras and editors change them, to learn what each change costs a model.

These are no augmentations: they change blur, hence distance, and nothing is trained on them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import ndimage
from torch import Tensor
from torch.nn import functional as F

from rangefinder.captures.images import resize_sharp
from rangefinder.config import Chroma
from rangefinder.optics.sensor import grey, through_jpeg
from rangefinder.optics.srgb import linear_to_srgb, srgb_to_linear
from rangefinder.photo_domain import jpeg_kind

JPEG_QUALITIES = (98, 95, 90, 80, 65)
DARK_BITS = (8, 10, 12, 14)  # in 16-bit samples
AMOUNTS = (0.5, 1.0, 2.0)  # of unsharp masking
FACTORS = (1.5, 2.0)  # of reduction
UNSHARP_SD_PX = 1.5  # of the blur that an unsharp mask subtracts


def _gamma(image: Tensor) -> Tensor:
    """Values encoded as sRGB, taken for linear light."""
    return torch.from_numpy(linear_to_srgb(image.numpy()))


def _dark(image: Tensor, bits: int) -> Tensor:
    """Values of so many bits in 16-bit samples."""
    return (image * (2.0**bits - 1)).round() / (2**16 - 1)


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


def _bayer(image: Tensor) -> Tensor:
    """1 where a pixel of the filter array has this colour, RGGB, `[3, H, W]`."""
    mask = torch.zeros_like(image)
    mask[0, ::2, ::2] = mask[1, ::2, 1::2] = mask[1, 1::2, ::2] = mask[2, 1::2, 1::2] = 1
    return mask


def _mosaic(image: Tensor) -> Tensor:
    """Sampled by a Bayer colour filter array and interpolated bilinearly."""
    mask = _bayer(image)
    side = torch.tensor([0.5, 1.0, 0.5])
    kernel = torch.outer(side, side)[None, None]
    value, weight = (
        F.conv2d(F.pad(planes[:, None], (1, 1, 1, 1), mode="reflect"), kernel)[:, 0]
        for planes in (image * mask, mask)
    )
    return value / weight


def _cfa(image: Tensor) -> Tensor:
    """Samples of a Bayer colour filter array, taken for grey light."""
    return (image * _bayer(image)).sum(dim=0, keepdim=True).expand(3, -1, -1).contiguous()


@dataclass(frozen=True)
class Degree:
    """A change of some degree."""

    change: Callable[[Tensor], Tensor]  # linear light `[3, H, W]` -> the same
    quality: int | None = None  # of a JPEG


def _jpegs(chroma: Chroma) -> tuple[Degree, ...]:
    return tuple(
        Degree(partial(through_jpeg, quality=quality, chroma=chroma), quality)
        for quality in JPEG_QUALITIES
    )


def changes() -> Mapping[str, tuple[Degree, ...]]:
    """Changes by the kind of shift that they stand for."""
    return {
        jpeg_kind("4:4:4"): _jpegs("4:4:4"),
        jpeg_kind("4:2:0"): _jpegs("4:2:0"),
        "half_chroma": (Degree(partial(through_jpeg, quality=100, chroma="4:2:0")),),
        "grey": (Degree(grey),),
        "gamma": (Degree(_gamma),),
        "mosaic": (Degree(_mosaic),),
        "cfa": (Degree(_cfa),),
        "dark": tuple(Degree(partial(_dark, bits=bits)) for bits in DARK_BITS),
        "sharpened": tuple(Degree(partial(_sharpened, amount=amount)) for amount in AMOUNTS),
        "smoothed": tuple(Degree(partial(_smoothed, factor=factor)) for factor in FACTORS),
    }
