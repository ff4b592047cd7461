"""Decoding of pictures from outside to linear light; what is no plain photo is refused."""

from __future__ import annotations

import struct
import warnings
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError
from PIL.ExifTags import Base

from rangefinder.captures.exif import exif_tags, is_turned, upright
from rangefinder.captures.formats import RAW_SUFFIXES, SAVE_AS, TIFF_SUFFIXES, install, open_picture
from rangefinder.captures.heif import heif_samples, is_heif, open_heif
from rangefinder.captures.light import Float, light_of_samples
from rangefinder.captures.storage import JPEGS, coded_storage, plain_storage
from rangefinder.captures.tiff import open_tiff, photo_page, photo_samples
from rangefinder.common.files import png_samples
from rangefinder.config import Orientation
from rangefinder.errors import CaptureError
from rangefinder.photo_domain import Storage

if TYPE_CHECKING:
    from torch import Tensor

Pixels = NDArray[np.generic]
MAX_PIXELS = 200_000_000  # of one picture; no camera has that many
MIN_SIDE_PX = 16
DECODE_ERRORS = (
    *(OSError, ValueError, SyntaxError, EOFError, LookupError, MemoryError),
    *(struct.error, zlib.error, RuntimeError),  # the last by codecs
    *(TypeError, AttributeError, ArithmeticError),  # by tifffile, of tags of a wrong type
)
REFUSED_MODES = {
    "1": "black and white only",
    "P": "a palette, which holds too few shades",
    "CMYK": "printing colours (CMYK)",
    "YCbCr": "YCbCr",
    "LAB": "Lab colours",
    "HSV": "HSV colours",
}
FORMATS = ("JPEG", "PNG", "WEBP", "AVIF")  # that Pillow reads by itself
RAW_FLIPS = {3: 3, 5: 8, 6: 6}  # of LibRaw, and the EXIF orientation of each


@dataclass(frozen=True)
class Decoded:
    """A picture file's content."""

    light: Float  # `[3, H, W]` linear light 0..1
    exif: dict[int, Any]  # EXIF tags by number
    storage: Storage  # how the file stores it
    largest: int | None = None  # sample, if nothing says how many of its 16 bits are used

    @property
    def image(self) -> Tensor:
        """`light` as a tensor."""
        import torch

        return torch.from_numpy(self.light)


@dataclass(frozen=True)
class Samples:
    """A picture file's samples as stored."""

    pixels: Pixels  # `[H, W]` or `[H, W, C]`, laid out as the sensor is
    exif: dict[int, Any]  # EXIF tags by number
    bits: int | None = None  # that samples use; None: all that they have
    coded: Storage | None = None  # of a lossy format


def decode(
    path: Path,
    encoding: str = "auto",
    orientation: Orientation = "refuse",
    sample_bits: int | None = None,
    max_pixels: int = MAX_PIXELS,
) -> Decoded:
    """Read a picture.

    Args:
        path: JPEG, PNG (8 or 16 bits), TIFF, WebP, AVIF, HEIC (needs pillow-heif) or camera raw
            (needs rawpy).
        encoding: srgb, linear, or auto: 8 bits are sRGB, more are linear.
        orientation: What to do with a picture that is turned according to its EXIF.
        sample_bits: That 16-bit PNG and TIFF use, where the file does not say it; None: all 16.
        max_pixels: Above which a picture is refused, before its pixels take memory.

    Raises:
        CaptureError: If it is empty, damaged, not a picture, too small or too large, or its colours
            are not plain grey or RGB.
    """
    start = require_content(path)
    if path.suffix.lower() in RAW_SUFFIXES:
        encoding = "linear"
    samples = _samples(path, start, sample_bits, max_pixels)
    pixels, exif = samples.pixels, samples.exif
    if is_turned(exif) and orientation == "refuse":
        raise CaptureError(
            f"{path.name} is stored turned (EXIF orientation {exif[Base.Orientation]})",
            todo="Set captures.orientation: ignore to take pixels as the sensor has them, or apply "
            "to turn them; use one of them for all photos of the camera.",
        )
    if is_turned(exif) and orientation == "apply":
        pixels = upright(pixels, exif[Base.Orientation])
    light = light_of_samples(path.name, pixels, encoding, samples.bits)
    untold = pixels.dtype == np.uint16 and samples.bits is None
    storage = samples.coded or plain_storage(pixels.dtype == np.uint8, encoding)
    return Decoded(light, exif, storage, int(pixels.max()) if untold else None)


def require_content(path: Path) -> bytes:
    """The first bytes of a file; refused is one that is empty or cannot be opened.

    Raises:
        CaptureError: In that case.
    """
    try:
        with path.open("rb") as file:
            start = file.read(64)
    except OSError as exc:
        raise CaptureError(f"{path.name} cannot be opened ({exc.strerror})") from exc
    if not start:
        raise CaptureError(f"{path.name} is empty (zero bytes)", todo="Copy it again.")
    return start


def require_size(name: str, width: int, height: int, max_pixels: int = MAX_PIXELS) -> None:
    """Refuse a picture by its size, before its pixels take memory.

    Raises:
        CaptureError: If it is too small for a patch, or larger than what is accepted.
    """
    found = f"{width}x{height} px"
    if width * height > max_pixels:
        limit = f"at most {max_pixels / 10**6:.4g} million pixels"
        raise CaptureError(f"{name} is too large", got=found, expected=limit)
    if min(width, height) < MIN_SIDE_PX:
        limit = f"at least {MIN_SIDE_PX}x{MIN_SIDE_PX} px"
        raise CaptureError(f"{name} is too small to show blur", got=found, expected=limit)


def _samples(path: Path, start: bytes, untold_bits: int | None, max_pixels: int) -> Samples:
    """Samples of a file that begins so; `untold_bits`: of 16-bit ones, where it says nothing."""
    if path.suffix.lower() in RAW_SUFFIXES:
        return _raw_samples(path, max_pixels)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            warnings.simplefilter("ignore", UserWarning)  # of damaged tags
            if path.suffix.lower() in TIFF_SUFFIXES:
                return _tiff_samples(path, untold_bits, max_pixels)
            if is_heif(start):
                return _heif_samples(path, max_pixels)
            return _pillow_samples(path, untold_bits, max_pixels)
    except UnidentifiedImageError as exc:
        raise CaptureError(
            f"{path.name} is no JPEG, PNG or TIFF, nor WebP, AVIF or HEIC, whatever its name",
            todo=SAVE_AS,
        ) from exc
    except Image.DecompressionBombError as exc:
        raise CaptureError(f"{path.name} is too large ({exc})") from exc
    except DECODE_ERRORS as exc:
        raise CaptureError(
            f"{path.name} is damaged ({exc})", todo="Copy it again from the camera."
        ) from exc


def _tiff_samples(path: Path, untold_bits: int | None, max_pixels: int) -> Samples:
    with open_tiff(path) as file:
        page = photo_page(path.name, file)
        require_size(path.name, page.imagewidth, page.imagelength, max_pixels)
        pixels, bits = photo_samples(path.name, page, untold_bits)
    exif = Image.Exif()  # also of a TIFF whose pixels Pillow cannot read
    with path.open("rb") as file:
        exif.load_from_fp(file)
        return Samples(pixels, exif_tags(exif), bits)


def _heif_samples(path: Path, max_pixels: int) -> Samples:
    photo = open_heif(path)
    require_size(path.name, *photo.size, max_pixels)
    return Samples(*heif_samples(photo), coded=Storage("lossy"))


def _pillow_samples(path: Path, untold_bits: int | None, max_pixels: int) -> Samples:
    with open_picture(path, FORMATS) as picture:
        require_size(path.name, *picture.size, max_pixels)
        if picture.format not in JPEGS and getattr(picture, "is_animated", False):
            raise CaptureError(f"{path.name} is animated", expected="one photo")
        pixels, exif = _pillow_pixels(path, picture), exif_tags(picture.getexif())
        coded = coded_storage(picture)
    return Samples(pixels, exif, untold_bits if pixels.dtype == np.uint16 else None, coded)


def _pillow_pixels(path: Path, picture: Image.Image) -> Pixels:
    if picture.mode in REFUSED_MODES:
        raise CaptureError(f"{path.name} has {REFUSED_MODES[picture.mode]}", todo=SAVE_AS)
    if picture.format == "PNG" and _png_depth(path) == 16 and picture.mode != "I;16":
        return png_samples(path)
    return np.asarray(picture)


def _png_depth(path: Path) -> int:
    """Bits per sample, from the header of a PNG file."""
    with path.open("rb") as file:
        return file.read(25)[24]


def _raw_samples(path: Path, max_pixels: int) -> Samples:
    """Demosaicked, linear 16-bit samples of a camera's raw file, in the sensor's own colours.

    Neither brightened nor brought to a colour space, which would mix the blurs of three colours.
    """
    try:
        import rawpy
    except ImportError as exc:
        raise CaptureError(
            f"{path.name} is a raw file, and no reader is installed",
            todo=f"{install('raw')}, or convert it to 16-bit linear TIFF.",
        ) from exc
    try:
        with rawpy.imread(str(path)) as raw:
            require_size(path.name, raw.sizes.width, raw.sizes.height, max_pixels)
            orientation = RAW_FLIPS.get(raw.sizes.flip, 1)
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
    return Samples(developed, {Base.Orientation: orientation}, 16)
