"""Picture files to linear light and back; distance and texture maps; sharp reduction."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor
from torch.nn import functional

from rangefinder.errors import CaptureError

FULL_SCALE = 65535
TIFF_SUFFIXES = (".tif", ".tiff")


def srgb_to_linear(encoded: NDArray[np.floating]) -> NDArray[np.float32]:
    """Decode sRGB values 0..1 to linear light 0..1 (IEC 61966-2-1), any shape."""
    curve = np.where(encoded <= 0.04045, encoded / 12.92, ((encoded + 0.055) / 1.055) ** 2.4)
    return curve.astype(np.float32)


_LINEAR = srgb_to_linear(np.arange(256) / 255)  # of each 8-bit value


def linear_to_srgb(linear: NDArray[np.floating]) -> NDArray[np.float32]:
    """Encode linear light 0..1 to sRGB 0..1 (IEC 61966-2-1), any shape; clips to 0..1."""
    clipped = np.clip(linear, 0.0, 1.0)
    power = 1.055 * np.maximum(clipped, 1e-9) ** (1 / 2.4) - 0.055
    encoded: NDArray[np.float32] = np.where(clipped <= 0.0031308, clipped * 12.92, power).astype(
        np.float32
    )
    return encoded


def srgb_pixels(image: Tensor) -> NDArray[np.uint8]:
    """8-bit sRGB values `[H, W, 3]` of a linear picture `[3, H, W]` in 0..1 (clipped)."""
    encoded = np.rint(linear_to_srgb(image.detach().numpy()) * 255).astype(np.uint8)
    return np.ascontiguousarray(encoded.transpose(1, 2, 0))


def quantise(image: Tensor) -> NDArray[np.uint16]:
    """16-bit values `[H, W, 3]` of a linear picture `[3, H, W]` in 0..1 (clipped)."""
    levels = image.detach().clamp(0.0, 1.0).mul_(FULL_SCALE).round_()
    return levels.permute(1, 2, 0).numpy().astype(np.uint16, order="C")


def read_linear(path: Path) -> Tensor:
    """Read a picture in linear light.

    Args:
        path: 16-bit TIFF (taken as linear), or 8-bit PNG, JPEG or TIFF (taken as sRGB).

    Returns:
        `[3, H, W]` float32 in 0..1.

    Raises:
        CaptureError: If the file cannot be read or is neither grey nor RGB of 8 or 16 bits.
    """
    pixels = _read_pixels(path)
    if pixels.ndim == 2:
        pixels = np.repeat(pixels[..., None], 3, axis=-1)
    if pixels.ndim != 3 or pixels.shape[-1] not in (3, 4):
        raise CaptureError(
            f"{path} is no colour picture", got=f"shape {pixels.shape}", expected="[H, W, 3]"
        )
    pixels = pixels[..., :3]
    if pixels.dtype == np.uint16:
        linear = pixels.astype(np.float32) / FULL_SCALE
    elif pixels.dtype == np.uint8:
        linear = _LINEAR[pixels]
    else:
        raise CaptureError(
            f"{path} has samples that are not understood",
            got=str(pixels.dtype),
            expected="8 bits (sRGB) or 16 bits (linear)",
        )
    return torch.from_numpy(np.ascontiguousarray(linear.transpose(2, 0, 1)))


def through_jpeg(image: Tensor, quality: int) -> Tensor:
    """What JPEG leaves of a picture: 8 bits in sRGB, and colour at half the resolution (4:2:0).

    Args:
        image: `[3, H, W]` linear light, 0..1.
        quality: 1 to 100, as the Independent JPEG Group counts.

    Returns:
        `[3, H, W]` float32 linear light.
    """
    file = BytesIO()
    picture = Image.fromarray(srgb_pixels(image))
    picture.save(file, "JPEG", quality=quality, subsampling="4:2:0")
    with Image.open(file) as left:
        linear = _LINEAR[np.asarray(left)]
    return torch.from_numpy(np.ascontiguousarray(linear.transpose(2, 0, 1)))


def _read_pixels(path: Path) -> NDArray[np.generic]:
    try:
        if path.suffix.lower() in TIFF_SUFFIXES:
            return _read_tiff(path)
        with Image.open(path) as picture:
            mode = "RGB" if picture.mode not in ("L", "I;16") else picture.mode
            return np.asarray(picture.convert(mode))
    except (OSError, ValueError) as exc:
        raise CaptureError(f"{path} cannot be read as a picture ({exc})") from exc


def _read_tiff(path: Path) -> NDArray[np.generic]:
    import tifffile

    return np.asarray(tifffile.imread(path))


def _write_tiff(path: Path, pixels: NDArray[np.generic], photometric: str) -> None:
    import tifffile

    file = BytesIO()  # NumPy, left to write to the disk, would not say that it is full
    tifffile.imwrite(file, pixels, photometric=photometric, metadata=None)
    path.write_bytes(file.getbuffer())


def write_linear(path: Path, image: Tensor) -> None:
    """Write `[3, H, W]` linear light 0..1 as uncompressed 16-bit TIFF `[H, W, 3]`."""
    _write_tiff(path, quantise(image), "rgb")


def read_distance_png(path: Path) -> Tensor:
    """Read a 16-bit PNG of millimetres.

    Returns:
        `[H, W]` float32 metres; 0 where unknown.

    Raises:
        CaptureError: If the file cannot be read or is no single-channel picture.
    """
    try:
        with Image.open(path) as picture:
            millimetres = np.asarray(picture)
    except (OSError, ValueError) as exc:
        raise CaptureError(f"{path} cannot be read as a distance map ({exc})") from exc
    if millimetres.ndim != 2 or millimetres.dtype == np.uint8:
        raise CaptureError(
            f"{path} is no distance map",
            got=f"{millimetres.dtype} {millimetres.shape}",
            expected="16-bit grey PNG [H, W] in millimetres",
        )
    return torch.from_numpy(millimetres.astype(np.float32) / 1000)


def write_distance_png(path: Path, distance_m: Tensor) -> None:
    """Write `[H, W]` metres (0 unknown) as 16-bit PNG of millimetres.

    Raises:
        CaptureError: If a distance is negative, not finite or beyond 65.535 m.
    """
    millimetres = np.rint(distance_m.numpy().astype(np.float64) * 1000)
    if not (np.isfinite(millimetres).all() and 0 <= millimetres.min() <= millimetres.max() < 65536):
        raise CaptureError(
            "distances do not fit a 16-bit map of millimetres",
            got=f"{distance_m.min():.3f} to {distance_m.max():.3f} m",
            expected="0 (unknown) to 65.535 m",
        )
    Image.fromarray(millimetres.astype(np.uint16)).save(path, compress_level=1)


def read_map(path: Path) -> Tensor:
    """Read a single-channel floating-point TIFF as `[H, W]` float32.

    Raises:
        CaptureError: If the file cannot be read.
    """
    try:
        return torch.from_numpy(_read_tiff(path).astype(np.float32))
    except (OSError, ValueError) as exc:
        raise CaptureError(f"{path} cannot be read as a map ({exc})") from exc


def write_map(path: Path, values: Tensor) -> None:
    """Write `[H, W]` as half-precision TIFF."""
    _write_tiff(path, values.numpy().astype(np.float16), "minisblack")


def read_mask(path: Path) -> Tensor:
    """Read a mask picture as `[H, W]` bool: valid where not black.

    Raises:
        CaptureError: If the file cannot be read.
    """
    pixels = _read_pixels(path)
    return torch.from_numpy(np.asarray(pixels).reshape(*pixels.shape[:2], -1).max(axis=-1) > 0)


def resize_sharp(image: Tensor, height: int, width: int) -> Tensor:
    """Resample `[C, h, w]` to `[C, height, width]`; reduction is band-limited, never blurred more.

    Cubic convolution stretched by the reduction factor: sharp to the pixel where the source is.
    """
    if image.shape[-2:] == (height, width):
        return image
    resized = functional.interpolate(
        image[None], size=(height, width), mode="bicubic", antialias=True, align_corners=False
    )
    return resized[0].clamp_(min=0.0)
