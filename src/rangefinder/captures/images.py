"""Image files of captures: linear light, texture maps and masks; sharp reduction."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor
from torch.nn import functional

from rangefinder.errors import CaptureError
from rangefinder.optics.sensor import LINEAR_OF_8_BIT, srgb_to_linear

FULL_SCALE = 65535
TIFF_SUFFIXES = (".tif", ".tiff")
SAVE_AS = "Save it as JPEG, or as PNG or TIFF with 8 or 16 bits, in RGB."


def quantise(image: Tensor) -> NDArray[np.uint16]:
    """16-bit values `[H, W, 3]` of a linear picture `[3, H, W]` in 0..1 (clipped)."""
    levels = image.detach().clamp(0.0, 1.0).mul_(FULL_SCALE).round_()
    return levels.permute(1, 2, 0).numpy().astype(np.uint16, order="C")


def linear_light(
    name: str, pixels: NDArray[np.generic], encoding: str = "auto", bits: int | None = None
) -> Tensor:
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
    return torch.from_numpy(np.ascontiguousarray(light.transpose(2, 0, 1)))


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


def read_mask(path: Path) -> Tensor:
    """Read a mask picture as `[H, W]` bool: valid where not black.

    Raises:
        CaptureError: If the file cannot be read.
    """
    pixels = _read_pixels(path)
    return torch.from_numpy(np.asarray(pixels).reshape(*pixels.shape[:2], -1).max(axis=-1) > 0)


def _read_pixels(path: Path) -> NDArray[np.generic]:
    try:
        if path.suffix.lower() in TIFF_SUFFIXES:
            import tifffile

            return np.asarray(tifffile.imread(path))
        with Image.open(path) as picture:
            mode = "RGB" if picture.mode not in ("L", "I;16") else picture.mode
            return np.asarray(picture.convert(mode))
    except (OSError, ValueError) as exc:
        raise CaptureError(f"{path} cannot be read as a picture ({exc})") from exc


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
