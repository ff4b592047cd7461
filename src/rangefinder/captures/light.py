"""Linear light of stored samples, and its resampling: arrays, without torch."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from rangefinder.captures.formats import SAVE_AS
from rangefinder.errors import CaptureError
from rangefinder.optics.srgb import LINEAR_OF_8_BIT, srgb_to_linear

Float = NDArray[np.float32]


def light_of_samples(
    name: str, pixels: NDArray[np.generic], encoding: str = "auto", bits: int | None = None
) -> Float:
    """Linear light `[3, H, W]` float32 of stored samples.

    Args:
        name: For the message.
        pixels: `[H, W]`, `[H, W, 1]` or `[H, W, 3]`, or with an opaque alpha channel.
        encoding: srgb, linear, or auto: 8 bits are sRGB, more are linear.
        bits: That unsigned samples use; None: all that they have.

    Raises:
        CaptureError: If shape, type or range are not those of a photo.
    """
    full = 2 ** (bits or 8 * pixels.dtype.itemsize) - 1
    if bits is not None and pixels.max(initial=0) > full:
        raise CaptureError(
            f"{name} has samples above {full}",
            got=int(pixels.max()),
            expected=f"samples of {bits} bits, as captures.sample_bits or --bits says",
        )
    pixels = _colours(name, pixels, full)
    is_srgb = encoding == "srgb" or (encoding == "auto" and full <= 255)
    by_table = is_srgb and pixels.dtype == np.uint8 and full == 255
    if by_table:
        light = LINEAR_OF_8_BIT[pixels]
    elif pixels.dtype.kind == "u":
        light = pixels.astype(np.float32) / full
    elif pixels.dtype.kind == "f":
        light = pixels.astype(np.float32)
        if not (np.isfinite(light).all() and light.min() >= 0.0 and light.max() <= 1.0):
            invalid = light.size - int(np.isfinite(light).sum())
            found = f"{light.min():.4g} to {light.max():.4g}"
            raise CaptureError(
                f"{name} has floating-point samples and leaves 0..1",
                got=f"{invalid} samples that are NaN or infinite" if invalid else found,
                todo="Divide it by its full scale.",
            )
    else:
        raise CaptureError(
            f"{name} has samples that cannot be read", got=str(pixels.dtype), todo=SAVE_AS
        )
    if is_srgb and not by_table:
        light = srgb_to_linear(light)
    return np.ascontiguousarray(light.transpose(2, 0, 1))


def _colours(name: str, pixels: NDArray[np.generic], full: int) -> NDArray[np.generic]:
    """`[H, W, 3]` of grey or colour, with or without an opaque alpha channel (`full`, or 1.0)."""
    if pixels.ndim == 2:
        pixels = pixels[..., None]
    if pixels.ndim != 3 or pixels.shape[2] > 4:
        raise CaptureError(f"{name} is no picture", got=f"shape {pixels.shape}", todo=SAVE_AS)
    if pixels.shape[2] in (2, 4):
        alpha, pixels = pixels[..., -1], pixels[..., :-1]
        opaque = full if alpha.dtype.kind == "u" else 1
        if np.any(alpha.astype(np.float64) < opaque):
            raise CaptureError(f"{name} is partly transparent", todo=SAVE_AS)
    return np.repeat(pixels, 3, axis=2) if pixels.shape[2] == 1 else pixels


def resized(light: Float, height: int, width: int) -> Float:
    """Resample `[C, h, w]` to `[C, height, width]` as `images.resize_sharp` does."""
    planes = [
        np.asarray(Image.fromarray(plane).resize((width, height), Image.Resampling.BICUBIC))
        for plane in np.ascontiguousarray(light, dtype=np.float32)
    ]
    return np.stack(planes).clip(min=0.0)
