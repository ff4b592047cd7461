"""Distance maps: reading and writing them, and where they have depth discontinuities."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError
from torch import Tensor

from rangefinder.captures.decoding import DECODE_ERRORS, read_tiff, require_content, require_size
from rangefinder.captures.images import TIFF_SUFFIXES
from rangefinder.errors import CaptureError

MEDIAN_M = (0.03, 200.0)  # a median outside was given in another unit
LARGEST_M = 65.535  # in the 16-bit maps of a capture set; beyond is stored as unknown
MAP_SUFFIXES = (".png", *TIFF_SUFFIXES, ".npy", ".pfm", ".exr")
EXR_CHANNELS = ("Z", "Y", "R", "V")  # names of the distance channel, the first that is there


def read_distance_png(path: Path) -> Tensor:
    """Read a 16-bit PNG of millimetres as `[H, W]` float32 metres; 0 where unknown.

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


def read_distances(path: Path, size: tuple[int, int] | None = None) -> Tensor:
    """Read a distance map; distances beyond `LARGEST_M` become unknown.

    Args:
        path: 16-bit PNG [mm]; or TIFF, NPY, PFM or EXR [m]. 0 is unknown.
        size: Expected height and width; None: any.

    Returns:
        `[H, W]` float32 metres, 0 unknown.

    Raises:
        CaptureError: If it is damaged, of another size, or holds NaN, infinity, negative numbers,
            no distance at all, or numbers of another unit.
    """
    require_content(path)
    try:
        values = _samples(path)
    except Image.DecompressionBombError as exc:
        raise CaptureError(f"{path.name} is too large ({exc})") from exc
    except DECODE_ERRORS as exc:
        raise CaptureError(f"{path.name} is damaged ({exc})", todo="Write it again.") from exc
    distance_m = _valid(path, values, size)
    known = distance_m[distance_m > 0]
    if not known.size:
        raise CaptureError(
            f"{path.name} has no known distance: all of it is 0",
            todo="Take its row out, or make it role unlabelled.",
        )
    median = float(np.median(known))
    if not MEDIAN_M[0] <= median <= MEDIAN_M[1]:
        raise CaptureError(
            f"{path.name} has implausible distances",
            got=f"a median of {median:.4g} m",
            expected=f"{MEDIAN_M[0]:g} to {MEDIAN_M[1]:g} m",
            todo="A 16-bit PNG holds millimetres; TIFF, NPY, PFM and EXR hold metres.",
        )
    distance_m[distance_m > LARGEST_M] = 0.0
    return torch.from_numpy(distance_m)


def _samples(path: Path) -> NDArray[np.generic]:
    """Metres as stored, in whatever format."""
    suffix = path.suffix.lower()
    if suffix not in MAP_SUFFIXES:
        raise CaptureError(
            f"{path.name} is no distance map",
            got=suffix or "no suffix",
            expected=", ".join(MAP_SUFFIXES),
        )
    if suffix == ".png":
        return read_distance_png(path).numpy()
    if suffix == ".npy":
        return np.asarray(np.load(path, allow_pickle=False))
    if suffix == ".pfm":
        return _pfm(path)
    return _exr(path) if suffix == ".exr" else read_tiff(path)[0]


def _pfm(path: Path) -> NDArray[np.generic]:
    """Portable float map."""
    try:
        with Image.open(path, formats=("PPM",)) as picture:
            require_size(path.name, *picture.size)
            return np.asarray(picture)
    except UnidentifiedImageError as exc:
        raise CaptureError(f"{path.name} is no grey PFM", expected="Pf in its first line") from exc


def _exr(path: Path) -> NDArray[np.generic]:
    try:
        import OpenEXR
    except ImportError as exc:
        raise CaptureError(
            f"{path.name} is an EXR file, and no reader is installed",
            todo="pip install 'rangefinder[exr]', or write it as 32-bit floating-point TIFF.",
        ) from exc
    channels = OpenEXR.File(str(path)).channels()
    names = [*(name for name in EXR_CHANNELS if name in channels), *channels]
    if names[0] not in EXR_CHANNELS and len(channels) > 1:
        raise CaptureError(
            f"{path.name} has no channel of distances", got=", ".join(channels), expected="Z"
        )
    return np.asarray(channels[names[0]].pixels)


def _valid(
    path: Path, values: NDArray[np.generic], size: tuple[int, int] | None
) -> NDArray[np.float32]:
    """Refuse samples that are no distances of an image of `size`."""
    if values.dtype.kind != "f":
        raise CaptureError(
            f"{path.name} does not hold metres",
            got=f"{values.dtype} samples",
            expected="floating-point metres",
            todo="Write millimetres as 16-bit PNG, or metres as 32-bit floating point.",
        )
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
    bad = {
        "NaN": np.isnan(distance_m),
        "infinity": np.isinf(distance_m),
        "negative numbers": distance_m < 0,
    }
    for what, where in bad.items():
        if where.any():
            raise CaptureError(
                f"{path.name} holds {what} at {int(where.sum())} pixels",
                todo="Write 0 where the distance is unknown.",
            )
    return distance_m


def near_edges(distance_m: NDArray[np.float32], step: float, band_px: float) -> NDArray[np.bool_]:
    """Pixels close to a depth discontinuity.

    One lies between neighbours whose distances differ by more than `step` of the nearer one.
    Unknown pixels take the distance of the nearest known one, so that a step across a gap counts,
    in the middle of the gap.

    Args:
        distance_m: `[H, W]` [m]; 0, negative or NaN where unknown.
        step: Relative difference of distances.
        band_px: Largest distance to a pixel beside a discontinuity [px].

    Returns:
        `[H, W]` mask.
    """
    from scipy import ndimage

    known = distance_m > 0
    if not known.any():
        return np.zeros_like(known)
    if not known.all():
        nearest = ndimage.distance_transform_edt(
            ~known, return_distances=False, return_indices=True
        )
        distance_m = distance_m[tuple(nearest)]
    edge = np.zeros_like(known)
    for axis in (0, 1):
        first, second = np.moveaxis(distance_m, axis, 0), np.moveaxis(edge, axis, 0)
        jump = np.maximum(first[1:], first[:-1]) > (1.0 + step) * np.minimum(first[1:], first[:-1])
        second[1:] |= jump
        second[:-1] |= jump
    if not edge.any():
        return edge
    return np.asarray(ndimage.distance_transform_edt(~edge) <= band_px)
