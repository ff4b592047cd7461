"""TIFF files as cameras and programs write them: which page is the photo, what its samples mean.

Tags and their values are those of TIFF 6.0 (Aldus, 1992).
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from rangefinder.captures.formats import SAVE_AS
from rangefinder.errors import CaptureError

if TYPE_CHECKING:
    from tifffile import TiffFile, TiffPage

COLOURS = ("MINISWHITE", "MINISBLACK", "RGB", "YCBCR", "LINEAR_RAW")
MOST_CHANNELS = 16
MOST_RATIO = 4096  # of the bytes of pixels to those of the file; Deflate reaches 1032, LZW 1365
JPEG = (6, 7, 33007, 34892)  # compressions whose decoder turns YCbCr into RGB


@contextmanager
def open_tiff(path: Path) -> Iterator[TiffFile]:
    """An open TIFF.

    Raises:
        CaptureError: If it is none, also while it is read.
    """
    import tifffile

    try:
        with tifffile.TiffFile(path) as file:
            yield file
    except tifffile.TiffFileError as exc:
        raise CaptureError(f"{path.name} is no TIFF ({exc})", todo=SAVE_AS) from exc


def pixels_of(name: str, page: TiffPage) -> NDArray[np.generic]:
    """Pixels of a page, `[H, W]`, `[H, W, C]` or `[C, H, W]`.

    Raises:
        CaptureError: If there are many channels, layers in depth, or more pixels than such a file
            can hold; before they take memory.
    """
    if page.samplesperpixel > MOST_CHANNELS or page.imagedepth != 1:
        raise CaptureError(
            f"{name} is no picture",
            got=f"{page.samplesperpixel} channels, {page.imagedepth} layers in depth",
            expected=f"at most {MOST_CHANNELS} channels, 1 layer",
            todo=SAVE_AS,
        )
    size = page.parent.filehandle.size
    stored = max(page.databytecounts, default=0)  # of a strip or tile
    decoded = math.prod(page.chunks) * (page.dtype.itemsize if page.dtype else 1)
    if stored > size or max(page.nbytes, decoded) > MOST_RATIO * size:
        found = f"{max(page.nbytes, decoded, stored)} bytes of pixels in a file of {size}"
        raise CaptureError(f"{name} is damaged", got=found, todo="Copy it again.")
    return np.asarray(page.asarray())


def photo_page(name: str, file: TiffFile) -> TiffPage:
    """The page that is the photo; thumbnails, reduced copies and masks are none.

    Raises:
        CaptureError: If there are several, as in a scan or a stack, or none.
    """
    first = [file.pages[index].aspage() for index in range(len(file.pages))]
    pages = _whole(first) or _whole([sub.aspage() for page in first for sub in page.pages or ()])
    if len(pages) != 1:
        raise CaptureError(
            f"{name} holds {len(pages)} pages",
            expected="one photo",
            todo="Save every page as a file of its own.",
        )
    return pages[0]


def _whole(pages: list[TiffPage]) -> list[TiffPage]:
    """The largest page, and others of more than half its size that do not say they are reduced."""
    pages = [page for page in pages if not (page.is_reduced or page.is_mask)]
    if not pages:
        return []
    largest = max(pages, key=lambda page: page.imagewidth * page.imagelength)
    width, height = (largest.imagewidth + 1) // 2, (largest.imagelength + 1) // 2
    return [
        page
        for page in pages
        if page is largest or page.imagewidth > width or page.imagelength > height
    ]


def photo_samples(
    name: str, page: TiffPage, untold_bits: int | None
) -> tuple[NDArray[np.generic], int | None]:
    """Samples `[H, W]` or `[H, W, C]`, high where it was light, and how many bits they use.

    Args:
        name: For the message.
        page: The page.
        untold_bits: Of samples whose tag tells no more than the size of their container, 16 bits;
            None: all.

    Raises:
        CaptureError: If they are not those of a developed photo.
    """
    bits: int | None = _bits(name, page)
    _require_colours(name, page)
    pixels = pixels_of(name, page)
    if "S" in page.axes:  # in planes, planar configuration 2, it comes first
        pixels = np.moveaxis(pixels, page.axes.index("S"), -1)
    if pixels.dtype.kind != "u":
        bits = None
    elif bits == 16:
        bits = untold_bits
    if _colours(page) == "MINISWHITE":
        pixels = _inverted(pixels, bits, len(page.extrasamples))
    return pixels, bits


def _bits(name: str, page: TiffPage) -> int:
    """Bits per sample, as the tag says; refused where there are too few, or several counts."""
    bits: int | tuple[int, ...] = page.bitspersample
    if not isinstance(bits, int):
        raise CaptureError(
            f"{name} has colours of different depth", got=f"{bits} bits", todo=SAVE_AS
        )
    if bits == 1:
        raise CaptureError(f"{name} has black and white only", todo=SAVE_AS)
    return bits


def _colours(page: TiffPage) -> str:
    """Name of the photometric interpretation, or its number if it is not a known one."""
    return str(getattr(page.photometric, "name", page.photometric))


def _require_colours(name: str, page: TiffPage) -> None:
    colours = _colours(page)
    if colours == "CFA":
        raise CaptureError(
            f"{name} is the mosaic of a sensor (CFA): every pixel has one colour only",
            todo="Demosaic it to RGB of 16 bits; camera raw files (DNG) are read as they are.",
        )
    if colours not in COLOURS or (colours == "YCBCR" and page.compression not in JPEG):
        raise CaptureError(f"{name} has {colours} samples", todo=SAVE_AS)


def _inverted(pixels: NDArray[np.generic], bits: int | None, extra: int) -> NDArray[np.generic]:
    """Samples that are 0 where it was light (WhiteIsZero), turned round; opacity stays."""
    light = pixels.copy()
    colours = light[..., :-extra] if extra and light.ndim == 3 else light
    if pixels.dtype.kind == "u":
        colours[...] = 2 ** (bits or 8 * pixels.dtype.itemsize) - 1 - colours
    else:
        colours[...] = 1 - colours
    return light
