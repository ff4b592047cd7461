"""Distance maps that somebody brought: 16-bit PNG of millimetres, or metres as floating point."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from rangefinder.captures.decode import BROKEN, require_size
from rangefinder.captures.images import TIFF_SUFFIXES, read_distance_png
from rangefinder.errors import CaptureError

NEAREST_M, FARTHEST_M = 0.03, 200.0  # a median outside was given in another unit
LARGEST_M = 65.535  # what the set's own 16-bit maps hold; beyond is stored as unknown
MAP_SUFFIXES = (".png", *TIFF_SUFFIXES, ".npy", ".pfm", ".exr")


def read_distances(path: Path, size: tuple[int, int] | None = None) -> Tensor:
    """Read a distance map.

    Args:
        path: 16-bit PNG [mm]; or TIFF, NPY, PFM or EXR [m]. 0 is unknown.
        size: Height and width that are expected, if any.

    Returns:
        `[H, W]` float32 metres, 0 unknown.

    Raises:
        CaptureError: If it is damaged, of another size, or holds NaN, infinity, negative numbers,
            nothing at all, or numbers of another unit.
    """
    if not path.stat().st_size:
        raise CaptureError(f"{path.name} is empty (zero bytes)", todo="Copy it again.")
    distance_m = _checked(path, _read(path), size)
    values = distance_m[distance_m > 0]
    if not values.size:
        raise CaptureError(
            f"{path.name} knows no distance: all of it is 0",
            todo="Take its row out, or make it role unlabelled.",
        )
    median = float(np.median(values))
    if not NEAREST_M <= median <= FARTHEST_M:
        raise CaptureError(
            f"{path.name} has implausible distances",
            got=f"a median of {median:.4g} m",
            expected=f"{NEAREST_M:g} to {FARTHEST_M:g} m",
            todo="A 16-bit PNG holds millimetres; TIFF, NPY, PFM and EXR hold metres.",
        )
    distance_m[distance_m > LARGEST_M] = 0.0
    return torch.from_numpy(distance_m)


def _read(path: Path) -> NDArray[np.generic]:
    suffix = path.suffix.lower()
    try:
        if suffix == ".png":
            return read_distance_png(path).numpy()
        if suffix in TIFF_SUFFIXES:
            return _metres(path, _tiff(path))
        if suffix == ".npy":
            return _metres(path, np.load(path, allow_pickle=False))
        if suffix == ".pfm":
            return _pfm(path)
        if suffix == ".exr":
            return _exr(path)
    except (*BROKEN, Image.DecompressionBombError) as exc:
        raise CaptureError(f"{path.name} is damaged ({exc})", todo="Write it again.") from exc
    raise CaptureError(
        f"{path.name} is no distance map",
        got=suffix or "no suffix",
        expected=", ".join(MAP_SUFFIXES),
    )


def _tiff(path: Path) -> NDArray[np.generic]:
    import tifffile

    try:
        with tifffile.TiffFile(path) as file:
            page = file.pages[0].aspage()
            require_size(path.name, page.imagewidth, page.imagelength)
            return np.asarray(page.asarray())
    except tifffile.TiffFileError as exc:
        raise CaptureError(f"{path.name} is no TIFF ({exc})", todo="Write it again.") from exc


def _metres(path: Path, values: NDArray[np.generic]) -> NDArray[np.generic]:
    if values.dtype.kind != "f":
        raise CaptureError(
            f"{path.name} does not hold metres",
            got=f"{values.dtype} samples",
            expected="floating-point metres",
            todo="Write millimetres as 16-bit PNG, or metres as 32-bit floating point.",
        )
    return values


def _pfm(path: Path) -> NDArray[np.generic]:
    """Portable float map: lines from the bottom up; a negative scale means little-endian."""
    with path.open("rb") as file:
        kind = file.readline().strip()
        width, height = (int(number) for number in file.readline().split())
        order = "<" if float(file.readline()) < 0 else ">"
        if kind != b"Pf":
            raise CaptureError(f"{path.name} is no grey PFM", got=repr(kind), expected="Pf")
        require_size(path.name, width, height)
        values = np.frombuffer(file.read(4 * width * height), f"{order}f4")
    return values.reshape(height, width)[::-1].astype(np.float32)


def _exr(path: Path) -> NDArray[np.generic]:
    try:
        import OpenEXR
    except ImportError as exc:
        raise CaptureError(
            f"{path.name} is an EXR file, and no reader is installed",
            todo="pip install 'rangefinder[exr]', or write it as 32-bit floating-point TIFF.",
        ) from exc
    try:
        channels: dict[str, Any] = OpenEXR.File(str(path)).channels()
    except (RuntimeError, struct.error) as exc:
        raise CaptureError(f"{path.name} is damaged ({exc})", todo="Write it again.") from exc
    names: list[str] = [name for name in ("Z", "Y", "R", "V") if name in channels]
    if len(channels) == 1:
        names = list(channels)
    if not names:
        raise CaptureError(
            f"{path.name} has no channel of distances", got=", ".join(channels), expected="Z"
        )
    return np.asarray(channels[names[0]].pixels)


def _checked(
    path: Path, values: NDArray[np.generic], size: tuple[int, int] | None
) -> NDArray[np.float32]:
    if values.ndim != 2:
        raise CaptureError(
            f"{path.name} is no distance map", got=f"shape {values.shape}", expected="[H, W]"
        )
    if size is not None and values.shape != size:
        raise CaptureError(
            f"{path.name} has another size than its image",
            got=f"{values.shape[1]}x{values.shape[0]} px",
            expected=f"{size[1]}x{size[0]} px",
            todo="Register the map to the photo, pixel by pixel.",
        )
    distance_m = values.astype(np.float32)
    for what, is_bad in (
        ("NaN", np.isnan(distance_m)),
        ("infinity", np.isinf(distance_m)),
        ("negative numbers", distance_m < 0),
    ):
        if is_bad.any():
            raise CaptureError(
                f"{path.name} holds {what} at {int(is_bad.sum())} pixels",
                todo="Write 0 where the distance is unknown.",
            )
    return distance_m
