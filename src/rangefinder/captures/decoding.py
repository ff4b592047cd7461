"""Decoding of pictures from outside to linear light; what is no plain photo is refused."""

from __future__ import annotations

import struct
import warnings
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError
from PIL.ExifTags import Base
from torch import Tensor

from rangefinder.captures.exif import exif_tags, is_turned
from rangefinder.captures.images import SAVE_AS, TIFF_SUFFIXES, linear_light
from rangefinder.captures.storage import coded_storage, plain_storage
from rangefinder.common.files import png_samples
from rangefinder.errors import CaptureError
from rangefinder.photo_domain import Storage

Orientation = Literal["refuse", "ignore", "apply"]
Pixels = NDArray[np.generic]
RAW_SUFFIXES = (".dng", ".nef", ".cr2", ".cr3", ".arw", ".raf", ".orf", ".rw2", ".pef")
PICTURE_SUFFIXES = (".jpg", ".jpeg", ".png", *TIFF_SUFFIXES, *RAW_SUFFIXES)
MAX_PIXELS = 200_000_000  # of one picture; no camera has that many
MIN_SIDE_PX = 16
DECODE_ERRORS = (
    *(OSError, ValueError, SyntaxError, EOFError, LookupError, MemoryError),
    *(struct.error, zlib.error, RuntimeError),  # the last by codecs
)
REFUSED_MODES = {
    "1": "black and white only",
    "P": "a palette, which holds too few shades",
    "CMYK": "printing colours (CMYK)",
    "YCbCr": "YCbCr",
    "LAB": "Lab colours",
    "HSV": "HSV colours",
}
TIFF_COLOURS = ("MINISWHITE", "MINISBLACK", "RGB", "YCBCR", "CFA", "LINEAR_RAW")


@dataclass(frozen=True)
class Decoded:
    """A picture file's content."""

    image: Tensor  # `[3, H, W]` float32 linear light 0..1
    exif: dict[int, Any]  # EXIF tags by number
    storage: Storage  # how the file stores it


def decode(path: Path, encoding: str = "auto", orientation: Orientation = "refuse") -> Decoded:
    """Read a picture.

    Args:
        path: JPEG, PNG (8 or 16 bits), TIFF (8 or 16 bits, float) or camera raw (needs rawpy).
        encoding: srgb, linear, or auto: 8 bits are sRGB, more are linear.
        orientation: What to do with a picture that is turned according to its EXIF.

    Raises:
        CaptureError: If it is empty, damaged, not a picture, too small or too large, or its colours
            are not plain grey or RGB.
    """
    require_content(path)
    if path.suffix.lower() in RAW_SUFFIXES:
        return Decoded(linear_light(path.name, _raw_pixels(path), "linear"), {}, Storage())
    pixels, exif, storage = _pixels(path, encoding)
    if is_turned(exif) and orientation == "refuse":
        raise CaptureError(
            f"{path.name} is stored turned (EXIF orientation {exif[Base.Orientation]})",
            todo="Set captures.orientation: ignore to take pixels as the sensor has them, or apply "
            "to turn them; use one of them for all photos of the camera.",
        )
    if is_turned(exif) and orientation == "apply":
        pixels = _upright(pixels, exif[Base.Orientation])
    return Decoded(linear_light(path.name, pixels, encoding), exif, storage)


def require_content(path: Path) -> None:
    """Refuse a file that is empty or cannot be opened.

    Raises:
        CaptureError: In that case.
    """
    try:
        with path.open("rb") as file:
            empty = not file.read(1)
    except OSError as exc:
        raise CaptureError(f"{path.name} cannot be opened ({exc.strerror})") from exc
    if empty:
        raise CaptureError(f"{path.name} is empty (zero bytes)", todo="Copy it again.")


def require_size(name: str, width: int, height: int) -> None:
    """Refuse a picture by its size, before its pixels take memory.

    Raises:
        CaptureError: If it is too small for a patch, or absurdly large.
    """
    found = f"{width}x{height} px"
    if width * height > MAX_PIXELS:
        limit = f"at most {MAX_PIXELS // 10**6} million pixels"
        raise CaptureError(f"{name} is too large", got=found, expected=limit)
    if min(width, height) < MIN_SIDE_PX:
        limit = f"at least {MIN_SIDE_PX}x{MIN_SIDE_PX} px"
        raise CaptureError(f"{name} is too small to show blur", got=found, expected=limit)


def read_tiff(path: Path) -> tuple[Pixels, str]:
    """Samples of a TIFF's first page, and its photometric interpretation.

    Raises:
        CaptureError: If it is no TIFF, or its size is refused.
        DECODE_ERRORS: If it is damaged.
    """
    import tifffile

    try:
        with tifffile.TiffFile(path) as file:
            page = file.pages[0].aspage()
            require_size(path.name, page.imagewidth, page.imagelength)
            colours = str(getattr(page.photometric, "name", page.photometric))
            return np.asarray(page.asarray()), colours
    except tifffile.TiffFileError as exc:
        raise CaptureError(f"{path.name} is no TIFF ({exc})", todo=SAVE_AS) from exc


def _pixels(path: Path, encoding: str) -> tuple[Pixels, dict[int, Any], Storage]:
    """Samples `[H, W]` or `[H, W, C]` as stored, EXIF tags, and how the file stores them."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            if path.suffix.lower() in TIFF_SUFFIXES:
                pixels, exif = _tiff_pixels(path)
                return pixels, exif, plain_storage(pixels.dtype == np.uint8, encoding)
            with Image.open(path, formats=("JPEG", "PNG")) as picture:
                pixels = _pillow_pixels(path, picture)
                plain = plain_storage(pixels.dtype == np.uint8, encoding)
                return pixels, exif_tags(picture.getexif()), coded_storage(picture) or plain
    except UnidentifiedImageError as exc:
        raise CaptureError(
            f"{path.name} is no JPEG, PNG or TIFF, whatever its name", todo=SAVE_AS
        ) from exc
    except Image.DecompressionBombError as exc:
        raise CaptureError(f"{path.name} is too large ({exc})") from exc
    except DECODE_ERRORS as exc:
        raise CaptureError(
            f"{path.name} is damaged ({exc})", todo="Copy it again from the camera."
        ) from exc


def _tiff_pixels(path: Path) -> tuple[Pixels, dict[int, Any]]:
    pixels, colours = read_tiff(path)
    if colours not in TIFF_COLOURS:
        raise CaptureError(f"{path.name} has {colours} samples", todo=SAVE_AS)
    exif = Image.Exif()  # also of a TIFF whose pixels Pillow cannot read
    with path.open("rb") as file:
        exif.load_from_fp(file)
        return pixels, exif_tags(exif)


def _pillow_pixels(path: Path, picture: Image.Image) -> Pixels:
    require_size(path.name, *picture.size)
    if picture.mode in REFUSED_MODES:
        raise CaptureError(f"{path.name} has {REFUSED_MODES[picture.mode]}", todo=SAVE_AS)
    if picture.format == "PNG" and _png_depth(path) == 16 and picture.mode != "I;16":
        return png_samples(path)
    return np.asarray(picture)


def _png_depth(path: Path) -> int:
    """Bits per sample, from the header of a PNG file."""
    with path.open("rb") as file:
        return file.read(25)[24]


def _upright(pixels: Pixels, orientation: int) -> Pixels:
    """Turn stored samples for display (EXIF orientation 2 to 8: mirrored, turned, or both)."""
    if orientation in (5, 6, 7, 8):
        pixels = pixels.swapaxes(0, 1)
    if orientation in (2, 3, 6, 7):
        pixels = pixels[:, ::-1]
    if orientation in (3, 4, 7, 8):
        pixels = pixels[::-1]
    return pixels


def _raw_pixels(path: Path) -> Pixels:
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
            developed: Pixels = raw.postprocess(
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
