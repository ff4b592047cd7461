"""Image files of captures: linear light, texture maps and masks; sharp reduction."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from rangefinder.captures.formats import TIFF_SUFFIXES, open_picture
from rangefinder.captures.light import light_of_samples
from rangefinder.common.foreign import guarded
from rangefinder.errors import CaptureError

FULL_SCALE = 65535


def quantise(image: Tensor) -> NDArray[np.uint16]:
    """16-bit values `[H, W, 3]` of a linear picture `[3, H, W]` in 0..1 (clipped)."""
    levels = image.detach().clamp(0.0, 1.0).mul_(FULL_SCALE).round_()
    return levels.permute(1, 2, 0).numpy().astype(np.uint16, order="C")


def linear_light(
    name: str, pixels: NDArray[np.generic], encoding: str = "auto", bits: int | None = None
) -> Tensor:
    """See `light.light_of_samples`."""
    return torch.from_numpy(light_of_samples(name, pixels, encoding, bits))


def read_linear(path: Path) -> Tensor:
    """Read a stored capture: see `linear_light`; pictures from outside: `decoding.decode`.

    Raises:
        CaptureError: If the file cannot be read or is no picture.
    """
    return linear_light(str(path), _read_pixels(path))


def write_linear(path: Path, image: Tensor) -> None:
    """Write `[3, H, W]` linear light 0..1 as uncompressed 16-bit TIFF `[H, W, 3]`."""
    write_tiff(path, quantise(image), photometric="rgb", metadata=None)


def read_map(path: Path) -> Tensor:
    """Read a single-channel floating-point TIFF as `[H, W]` float32.

    Raises:
        CaptureError: If the file cannot be read.
    """
    return torch.from_numpy(_read_pixels(path).astype(np.float32))


def write_map(path: Path, values: Tensor) -> None:
    """Write `[H, W]` as half-precision TIFF."""
    write_tiff(path, values.numpy().astype(np.float16), photometric="minisblack", metadata=None)


def _read_pixels(path: Path) -> NDArray[np.generic]:
    with guarded(CaptureError, f"{path} cannot be read as a picture"):
        if path.suffix.lower() in TIFF_SUFFIXES:
            import tifffile

            return np.asarray(tifffile.imread(path))
        with open_picture(path, ("PNG", "JPEG")) as picture:
            mode = "RGB" if picture.mode not in ("L", "I;16") else picture.mode
            return np.asarray(picture.convert(mode))


def write_tiff(path: Path, pixels: NDArray[np.generic], **options: Any) -> None:
    """Write samples with options of `tifffile.imwrite`.

    Raises:
        OSError: If the disk is full.
    """
    import tifffile

    file = BytesIO()  # on a full disk NumPy, writing by itself, would raise nothing
    tifffile.imwrite(file, pixels, **options)
    path.write_bytes(file.getbuffer())


def resize_sharp(image: Tensor, height: int, width: int) -> Tensor:
    """Resample `[C, h, w]` to `[C, height, width]` by antialiased cubic convolution, clipped at 0.

    Reduction is band-limited and blurs no more than that: sharp to the pixel where the source is.
    """
    if image.shape[-2:] == (height, width):
        return image
    resized = functional.interpolate(
        image[None], size=(height, width), mode="bicubic", antialias=True, align_corners=False
    )
    return resized[0].clamp_(min=0.0)
