"""The sRGB encoding of pictures (IEC 61966-2-1)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from torch import Tensor


def srgb_curve(encoded: NDArray[np.floating]) -> NDArray[np.floating]:
    """Decode sRGB values 0..1 to linear light 0..1 (IEC 61966-2-1), any shape, same precision."""
    return np.where(encoded <= 0.04045, encoded / 12.92, ((encoded + 0.055) / 1.055) ** 2.4)


def srgb_to_linear(encoded: NDArray[np.floating]) -> NDArray[np.float32]:
    """`srgb_curve` in single precision."""
    return srgb_curve(encoded).astype(np.float32)


LINEAR_OF_8_BIT = srgb_to_linear(np.arange(256) / 255)  # of each 8-bit sRGB value


def linear_to_srgb(linear: NDArray[np.floating]) -> NDArray[np.float32]:
    """Encode linear light 0..1 to sRGB 0..1 (IEC 61966-2-1), any shape; clips to 0..1."""
    clipped = np.clip(linear, 0.0, 1.0)
    power = 1.055 * np.maximum(clipped, 1e-9) ** (1 / 2.4) - 0.055
    encoded: NDArray[np.floating] = np.where(clipped <= 0.0031308, clipped * 12.92, power)
    return encoded.astype(np.float32)


def srgb_pixels(image: NDArray[np.floating] | Tensor) -> NDArray[np.uint8]:
    """8-bit sRGB values `[H, W, 3]` of a linear picture `[3, H, W]` in 0..1 (clipped)."""
    encoded = np.rint(linear_to_srgb(np.asarray(image)) * 255).astype(np.uint8)
    return np.ascontiguousarray(encoded.transpose(1, 2, 0))
