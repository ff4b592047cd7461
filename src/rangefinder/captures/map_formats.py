"""Files of distance maps: the numbers that PNG, TIFF, NPY, PFM and EXR hold, as stored."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from rangefinder.captures.decoding import require_content, require_size
from rangefinder.captures.formats import TIFF_SUFFIXES, install, open_picture
from rangefinder.captures.tiff import open_tiff, pixels_of
from rangefinder.common.foreign import guarded
from rangefinder.errors import CaptureError

Numbers = NDArray[np.generic]
MAP_SUFFIXES = (".png", *TIFF_SUFFIXES, ".npy", ".pfm", ".exr")
AGAIN = "Write it again."
MASK_FORMATS = ("PNG", "JPEG", "BMP", "WEBP")  # beside TIFF
EXR_DEPTH = re.compile(r"(^|\.)depth(\.[zvyr])?$", re.IGNORECASE)  # such as ViewLayer.Depth.Z


def read_numbers(path: Path) -> Numbers:
    """Numbers `[H, W]` of a distance map as they are stored, of whatever type.

    Raises:
        CaptureError: If the file is none of `MAP_SUFFIXES`, damaged, or holds several channels.
    """
    require_content(path)
    suffix = path.suffix.lower()
    if suffix not in MAP_SUFFIXES:
        raise CaptureError(
            f"{path.name} is no distance map",
            got=suffix or "no suffix",
            expected=", ".join(MAP_SUFFIXES),
        )
    with _guarded(path):
        return _one_channel(path, _samples(path, suffix))


def read_mask(path: Path) -> NDArray[np.bool_]:
    """A mask picture as `[H, W]` bool: valid where not black.

    Raises:
        CaptureError: If the file is none of `MASK_FORMATS` and TIFF, or damaged.
    """
    require_content(path)
    with _guarded(path):
        pixels = _tiff(path) if path.suffix.lower() in TIFF_SUFFIXES else _mask_pixels(path)
        return np.asarray(pixels.reshape(*pixels.shape[:2], -1).max(axis=-1) > 0)


def _mask_pixels(path: Path) -> Numbers:
    try:
        with open_picture(path, MASK_FORMATS) as picture:
            require_size(path.name, *picture.size)
            mode = picture.mode if picture.mode in ("L", "I;16") else "RGB"
            return np.asarray(picture.convert(mode))
    except UnidentifiedImageError as exc:
        expected = f"{', '.join(MASK_FORMATS)} or TIFF"
        raise CaptureError(f"{path.name} is no mask", expected=expected) from exc


@contextmanager
def _guarded(path: Path) -> Iterator[None]:
    with guarded(CaptureError, f"{path.name} is damaged", todo=AGAIN):
        try:
            yield
        except Image.DecompressionBombError as exc:
            raise CaptureError(f"{path.name} is too large ({exc})") from exc


def _one_channel(path: Path, numbers: Numbers) -> Numbers:
    if numbers.ndim == 3 and 1 in numbers.shape:  # such as [H, W, 1] of DIODE
        numbers = numbers.squeeze(numbers.shape.index(1))
    if numbers.ndim != 2:
        raise CaptureError(
            f"{path.name} is no distance map", got=f"shape {numbers.shape}", expected="[H, W]"
        )
    return numbers


def _samples(path: Path, suffix: str) -> Numbers:
    if suffix == ".npy":
        return _npy(path)
    if suffix == ".png":
        return _pillow(path, "PNG", ("L", "I", "I;16"), "grey PNG of 8 or 16 bits")
    if suffix == ".pfm":
        return _pillow(path, "PPM", ("F",), "grey PFM, with Pf in its first line")
    return _exr(path) if suffix == ".exr" else _tiff(path)


def _tiff(path: Path) -> Numbers:
    """The first page."""
    with open_tiff(path) as file:
        page = file.pages[0].aspage()
        require_size(path.name, page.imagewidth, page.imagelength)
        return pixels_of(path.name, page)


def _npy(path: Path) -> Numbers:
    """An array, mapped first: a header may promise more than there is memory for."""
    mapped = np.load(path, mmap_mode="r", allow_pickle=False)
    if not isinstance(mapped, np.ndarray):
        raise CaptureError(f"{path.name} holds several arrays", expected="one, as np.save writes")
    return np.array(mapped)


def _pillow(path: Path, kind: str, modes: tuple[str, ...], expected: str) -> Numbers:
    try:
        with open_picture(path, (kind,)) as picture:
            require_size(path.name, *picture.size)
            if picture.mode not in modes:
                found = f"samples of mode {picture.mode}"
                raise CaptureError(f"{path.name} is no distance map", got=found, expected=expected)
            return np.asarray(picture)
    except UnidentifiedImageError as exc:
        raise CaptureError(f"{path.name} is no distance map", expected=expected) from exc


def _exr(path: Path) -> Numbers:
    """The channel of distances of an EXR file, whatever its part, layer and other channels."""
    try:
        import OpenEXR
    except ImportError as exc:
        raise CaptureError(
            f"{path.name} is an EXR file, and no reader is installed",
            todo=f"{install('exr')}, or write it as 32-bit floating-point TIFF.",
        ) from exc
    headers = OpenEXR.File(str(path), header_only=True).parts
    for part in headers:
        (left, top), (right, bottom) = (corner.tolist() for corner in part.header["dataWindow"])
        require_size(path.name, right - left + 1, bottom - top + 1)
        if part.header.get("type") in (OpenEXR.deepscanline, OpenEXR.deeptile):
            raise CaptureError(
                f"{path.name} is a deep EXR, with several distances in a pixel",
                todo="Write the nearest of each pixel into a flat file.",
            )
    with OpenEXR.File(str(path), separate_channels=True) as file:
        if len(file.parts) < len(headers):  # a damaged part is left out, with a warning
            raise CaptureError(f"{path.name} is damaged: a part cannot be read", todo=AGAIN)
        channels = dict(_exr_channels(file))
        return np.array(channels[_distance_channel(path, list(channels))].pixels)


def _exr_channels(file: Any) -> Iterator[tuple[str, Any]]:
    """Names and channels of all parts; the name of one of several parts counts as a layer."""
    for part in file.parts:
        layer = f"{part.name()}." if len(file.parts) > 1 else ""
        yield from ((layer + name, channel) for name, channel in part.channels.items())


def _distance_channel(path: Path, names: list[str]) -> str:
    """Name of the channel of distances: Z, that of a layer named Depth, or the only grey one.

    Raises:
        CaptureError: If there is none, or more than one.
    """
    lower = {name.lower() for name in names}
    grey = [name for name in names if name != "A"]
    choices = (
        [name for name in names if name == "Z"],
        [name for name in names if EXR_DEPTH.search(name)],
        [name for name in names if _is_single_z(name.lower(), lower)],
        grey if len(grey) == 1 else [],
    )
    found = next(filter(None, choices), [])
    if not found:
        raise CaptureError(
            f"{path.name} has no channel of distances",
            got=", ".join(names),
            expected="Z, or one of a layer named Depth",
        )
    if len(found) > 1:
        raise CaptureError(
            f"{path.name} has {len(found)} channels of distances",
            got=", ".join(found),
            todo="Keep the one that belongs to the photo.",
        )
    return found[0]


def _is_single_z(name: str, names: set[str]) -> bool:
    """Whether a channel is the Z of a layer, and not of a vector such as a normal."""
    return name.endswith(".z") and f"{name[:-1]}x" not in names
