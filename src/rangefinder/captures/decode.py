"""Pictures of any sensible file format to linear light; everything else is refused plainly."""

from __future__ import annotations

import struct
import warnings
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError
from torch import Tensor

from rangefinder.captures.images import TIFF_SUFFIXES, srgb_to_linear
from rangefinder.errors import CaptureError

Orientation = Literal["refuse", "ignore", "apply"]
RAW_SUFFIXES = (".dng", ".nef", ".cr2", ".cr3", ".arw", ".raf", ".orf", ".rw2", ".pef")
PICTURE_SUFFIXES = (".jpg", ".jpeg", ".png", *TIFF_SUFFIXES, *RAW_SUFFIXES)
LARGEST_PX = 200_000_000  # pixels of one picture; no camera has that many
SMALLEST_PX = 16  # side
ORIENTATION = 0x0112  # EXIF tag
BROKEN = (
    *(OSError, ValueError, SyntaxError, EOFError, LookupError, MemoryError),
    *(struct.error, zlib.error, RuntimeError),  # the last by codecs
)
MODES = {
    "1": "black and white only",
    "P": "a palette, which holds too few shades",
    "CMYK": "printing colours (CMYK)",
    "YCbCr": "YCbCr",
    "LAB": "Lab colours",
    "HSV": "HSV colours",
}
SAVE_AS = "Save it as JPEG, or as PNG or TIFF with 8 or 16 bits, in RGB."


@dataclass(frozen=True)
class Decoded:
    """A picture file's content.

    Attributes:
        image: `[3, H, W]` float32 linear light 0..1.
        exif: EXIF tags by number.
        bits: Bits per sample.
    """

    image: Tensor
    exif: dict[int, Any]
    bits: int


def decode(path: Path, encoding: str = "auto", orientation: Orientation = "refuse") -> Decoded:
    """Read a picture.

    Args:
        path: JPEG, PNG (8 or 16 bits), TIFF (8 or 16 bits, float) or camera raw (needs rawpy).
        encoding: srgb, linear, or auto: 8 bits are sRGB, more are linear.
        orientation: What to do with a picture whose EXIF says it is turned.

    Raises:
        CaptureError: If it is empty, damaged, not a picture, too small or too large, or its colours
            are not plain grey or RGB.
    """
    _require_content(path)
    if path.suffix.lower() in RAW_SUFFIXES:
        return Decoded(_tensor(_raw_pixels(path), "linear"), {}, 16)
    pixels, exif = _pixels(path)
    bits = 8 * pixels.dtype.itemsize
    turned = exif.get(ORIENTATION, 1) not in (0, 1)
    if turned and orientation == "refuse":
        raise CaptureError(
            f"{path.name} is stored turned (EXIF orientation {exif[ORIENTATION]})",
            todo="Set captures.orientation: ignore to take pixels as the sensor has them, or apply "
            "to turn them; use one of them for all photos of the camera.",
        )
    if turned and orientation == "apply":
        pixels = _upright(pixels, exif[ORIENTATION])
    return Decoded(_tensor(_colours(path, pixels), encoding), exif, bits)


def _require_content(path: Path) -> None:
    try:
        with path.open("rb") as file:
            empty = not file.read(1)
    except OSError as exc:
        raise CaptureError(f"{path.name} cannot be opened ({exc.strerror})") from exc
    if empty:
        raise CaptureError(f"{path.name} is empty (zero bytes)", todo="Copy it again.")


def require_size(name: str, width: int, height: int) -> None:
    """Refuse a picture before its pixels take memory.

    Raises:
        CaptureError: If it is too small to hold a patch, or absurdly large.
    """
    if width * height > LARGEST_PX:
        raise CaptureError(
            f"{name} is too large",
            got=f"{width}x{height} px",
            expected=f"at most {LARGEST_PX // 10**6} million pixels",
        )
    if min(width, height) < SMALLEST_PX:
        raise CaptureError(
            f"{name} is too small to show blur",
            got=f"{width}x{height} px",
            expected=f"at least {SMALLEST_PX}x{SMALLEST_PX} px",
        )


def _pixels(path: Path) -> tuple[NDArray[np.generic], dict[int, Any]]:
    """Samples `[H, W]` or `[H, W, C]` as stored, and EXIF tags."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            if path.suffix.lower() in TIFF_SUFFIXES:
                return _tiff_pixels(path)
            with Image.open(path, formats=("JPEG", "PNG")) as picture:
                return _pillow_pixels(path, picture)
    except UnidentifiedImageError as exc:
        raise CaptureError(
            f"{path.name} is no JPEG, PNG or TIFF, whatever its name", todo=SAVE_AS
        ) from exc
    except Image.DecompressionBombError as exc:
        raise CaptureError(f"{path.name} is too large ({exc})") from exc
    except BROKEN as exc:
        raise CaptureError(
            f"{path.name} is damaged ({exc})", todo="Copy it again from the camera."
        ) from exc


def _pillow_pixels(path: Path, picture: Image.Image) -> tuple[NDArray[np.generic], dict[int, Any]]:
    require_size(path.name, *picture.size)
    if picture.mode in MODES:
        raise CaptureError(f"{path.name} has {MODES[picture.mode]}", todo=SAVE_AS)
    exif = exif_tags(picture)
    if picture.format == "PNG" and _png_depth(path) == 16 and picture.mode != "I;16":
        import imagecodecs  # Pillow reduces such samples to 8 bits

        return np.asarray(imagecodecs.png_decode(path.read_bytes())), exif
    return np.asarray(picture), exif


def exif_tags(picture: Image.Image) -> dict[int, Any]:
    """EXIF tags by number, those about the exposure among them."""
    return _every(picture.getexif())


def _tiff_exif(path: Path) -> dict[int, Any]:
    """The same of a TIFF, also of one whose pixels Pillow does not know."""
    exif = Image.Exif()
    with path.open("rb") as file:
        exif.load_from_fp(file)
        return _every(exif)


def _every(exif: Image.Exif) -> dict[int, Any]:
    return {**exif, **exif.get_ifd(0x8769)}


def _png_depth(path: Path) -> int:
    with path.open("rb") as file:
        return file.read(25)[24]


def _tiff_pixels(path: Path) -> tuple[NDArray[np.generic], dict[int, Any]]:
    import tifffile

    try:
        with tifffile.TiffFile(path) as file:
            page = file.pages[0].aspage()
            require_size(path.name, page.imagewidth, page.imagelength)
            if page.photometric not in (0, 1, 2, 6, 32803, 34892):
                what = getattr(page.photometric, "name", page.photometric)
                raise CaptureError(f"{path.name} has {what} samples", todo=SAVE_AS)
            return np.asarray(page.asarray()), _tiff_exif(path)
    except tifffile.TiffFileError as exc:
        raise CaptureError(f"{path.name} is no TIFF ({exc})", todo=SAVE_AS) from exc


def _upright(pixels: NDArray[np.generic], orientation: int) -> NDArray[np.generic]:
    """Turn stored samples as EXIF says (2 to 8: mirrored, turned, or both)."""
    if orientation in (5, 6, 7, 8):
        pixels = pixels.swapaxes(0, 1)
    if orientation in (2, 3, 6, 7):
        pixels = pixels[:, ::-1]
    if orientation in (3, 4, 7, 8):
        pixels = pixels[::-1]
    return pixels


def _colours(path: Path, pixels: NDArray[np.generic]) -> NDArray[np.generic]:
    """`[H, W, 3]` of grey or colour, with or without an alpha channel that hides nothing."""
    if pixels.ndim == 2:
        pixels = pixels[..., None]
    if pixels.ndim != 3 or pixels.shape[2] > 4:
        raise CaptureError(f"{path.name} is no picture", got=f"shape {pixels.shape}", todo=SAVE_AS)
    if pixels.shape[2] in (2, 4):
        alpha, pixels = pixels[..., -1], pixels[..., :-1]
        full = 2 ** (8 * alpha.dtype.itemsize) - 1 if alpha.dtype.kind == "u" else 1
        if np.any(alpha.astype(np.float64) < full):
            raise CaptureError(f"{path.name} is partly transparent", todo=SAVE_AS)
    return np.repeat(pixels, 3, axis=2) if pixels.shape[2] == 1 else pixels


def _tensor(pixels: NDArray[np.generic], encoding: str) -> Tensor:
    """Linear light `[3, H, W]` float32 of samples `[H, W, 3]`."""
    if pixels.dtype == np.uint8 and encoding != "linear":
        light = srgb_to_linear(np.arange(256) / 255)[pixels]
    elif pixels.dtype in (np.uint8, np.uint16):
        light = pixels.astype(np.float32) / (2 ** (8 * pixels.dtype.itemsize) - 1)
    elif pixels.dtype.kind == "f":
        light = pixels.astype(np.float32)
        if not (np.isfinite(light).all() and light.min() >= 0.0 and light.max() <= 1.0):
            raise CaptureError(
                "a picture of floating-point samples leaves 0..1",
                got=f"{np.nanmin(light):.4g} to {np.nanmax(light):.4g}",
                todo="Divide it by its full scale.",
            )
    else:
        raise CaptureError("samples are not understood", got=str(pixels.dtype), todo=SAVE_AS)
    if encoding == "srgb" and pixels.dtype != np.uint8:
        light = srgb_to_linear(light)
    return torch.from_numpy(np.ascontiguousarray(light.transpose(2, 0, 1)))


def _raw_pixels(path: Path) -> NDArray[np.generic]:
    """Demosaicked, linear 16-bit samples of a camera's raw file, in the sensor's own colours.

    Neither brightened nor brought to a colour space, which would mix the blurs of three colours.
    """
    try:
        import rawpy
    except ImportError as exc:
        raise CaptureError(
            f"{path.name} is a raw file, and no reader is installed",
            todo="pip install 'rangefinder[raw]', or convert it to 16-bit linear TIFF.",
        ) from exc
    try:
        with rawpy.imread(str(path)) as raw:
            developed: NDArray[np.generic] = raw.postprocess(
                gamma=(1, 1),
                no_auto_bright=True,
                adjust_maximum_thr=0.0,
                output_bps=16,
                output_color=rawpy.ColorSpace.raw,
                user_wb=[1.0, 1.0, 1.0, 1.0],
                user_flip=0,
            )
    except (rawpy.LibRawError, OSError) as exc:
        raise CaptureError(f"{path.name} is damaged or an unknown raw file ({exc})") from exc
    require_size(path.name, developed.shape[1], developed.shape[0])
    return developed
