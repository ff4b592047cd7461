"""Distance maps: what their numbers mean, metres of them, stored maps, depth discontinuities."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from rangefinder.camera import Camera
from rangefinder.captures.formats import TIFF_SUFFIXES
from rangefinder.captures.images import write_tiff
from rangefinder.captures.map_formats import Numbers, read_numbers
from rangefinder.coordinates import Placement, axis_cosine
from rangefinder.errors import CaptureError
from rangefinder.optics.blur import image_distance_m, reference_m

Kind = Literal["z", "radial", "inverse", "disparity"]
KINDS: tuple[Kind, ...] = get_args(Kind)
MILLIMETRES = 0.001  # what a 16-bit PNG holds unless somebody says otherwise
SKY_M = 1e9  # renderers write 1e10 where a ray meets nothing
LARGEST_PNG_M = 65.535  # in 16 bits of millimetres
PNG_ERROR = 1e-3  # largest relative error that rounding to millimetres may make
TELL_SCALE = "Give distance_scale, the factor to metres."
Float = NDArray[np.float32]


@dataclass(frozen=True)
class MapMeaning:
    """What the numbers of a distance map mean: columns of a table.

    Of a number n, `z` is scale n metres along the optical axis, `radial` scale n metres along the
    ray from the projection centre, `inverse` scale n dioptres (1/m) along the axis, and
    `disparity` scale n pixels, which is focal length x baseline / (scale n + offset) along the axis
    (Scharstein et al., High-resolution stereo datasets, 2014).
    """

    kind: Kind | None = None  # None: nobody said, and z is assumed
    scale: float | None = None  # None: 16-bit PNG holds millimetres, floating point metres
    focal_length_px: float | None = None  # in pixels of the map
    baseline_m: float | None = None  # between the two cameras
    offset_px: float = 0.0  # between the two principal points (doffs)

    @property
    def is_length(self) -> bool:
        """Whether numbers grow with the distance."""
        return self.kind not in ("inverse", "disparity")


PLAIN = MapMeaning()


def read_distances(
    path: Path, size: tuple[int, int] | None = None, meaning: MapMeaning = PLAIN
) -> Tensor:
    """Read a distance map.

    0 is unknown, and so is 1e9 m and beyond, the sky of renderers. NaN and infinity are unknown in
    EXR files and in maps of other kinds than z, whose makers write them; elsewhere they are errors.

    Args:
        path: PNG, TIFF, NPY, PFM or EXR.
        size: Expected height and width; None: any.
        meaning: What the numbers mean.

    Returns:
        `[H, W]` float32 metres, 0 unknown: along the optical axis, or along rays if radial.

    Raises:
        CaptureError: If it is damaged, of another size, of unknown unit, or holds NaN, infinity,
            negative numbers, or no distance at all.
    """
    numbers = read_numbers(path)
    if size is not None and numbers.shape != size:
        raise CaptureError(
            f"{path.name} has another size than its image",
            got=f"{numbers.shape[1]}x{numbers.shape[0]} px",
            expected=f"{size[1]}x{size[0]} px",
            todo="Register the map to the photo, pixel by pixel.",
        )
    scale = _scale(path, numbers, meaning)
    with np.errstate(over="ignore"):
        values = numbers.astype(np.float32)
    may_have_gaps = meaning.kind not in (None, "z") or path.suffix.lower() == ".exr"
    distance_m = _metres(_known(path, values, may_have_gaps), scale, meaning)
    if not distance_m.any():
        raise CaptureError(
            f"{path.name} has no known distance: all of it is 0",
            todo="Take its row out, or make it role unlabelled.",
        )
    return torch.from_numpy(distance_m)


def _scale(path: Path, numbers: Numbers, meaning: MapMeaning) -> float:
    """Factor of the numbers; refuses integers of unknown unit."""
    kind = numbers.dtype.kind
    if kind not in "fui":
        raise CaptureError(f"{path.name} holds no numbers", got=f"{numbers.dtype} samples")
    if meaning.scale is not None:
        return meaning.scale
    if kind == "f":
        return 1.0
    if path.suffix.lower() == ".png" and numbers.dtype == np.uint16 and meaning.is_length:
        return MILLIMETRES
    raise CaptureError(
        f"{path.name} does not say its unit",
        got=f"{numbers.dtype} samples",
        expected="16-bit PNG of millimetres, or floating-point metres",
        todo=TELL_SCALE,
    )


def _known(path: Path, values: Float, may_have_gaps: bool) -> Float:
    """Values with 0 for unknown ones; refuses what cannot be a distance."""
    if may_have_gaps:
        values = np.where(np.isfinite(values), values, np.float32(0))
    bad = {"NaN": np.isnan(values), "infinity": np.isinf(values), "negative numbers": values < 0}
    for what, where in bad.items():
        if where.any():
            raise CaptureError(
                f"{path.name} holds {what} at {int(where.sum())} pixels",
                todo="Write 0 where the distance is unknown.",
            )
    return values


def _metres(values: Float, scale: float, meaning: MapMeaning) -> Float:
    scaled = values.astype(np.float64) * scale
    with np.errstate(divide="ignore"):
        if meaning.kind == "inverse":
            scaled = 1 / scaled
        elif meaning.kind == "disparity":
            if meaning.focal_length_px is None or meaning.baseline_m is None:
                raise CaptureError("a disparity map needs its focal_length_px and baseline_m")
            base = meaning.focal_length_px * meaning.baseline_m
            scaled = base / (scaled + meaning.offset_px)
    known = (values > 0) & (scaled > 0) & (scaled < SKY_M)
    return np.where(known, scaled, 0).astype(np.float32)


def from_rays(
    ray_m: Tensor, camera: Camera, placement: Placement, focal_length_px: float | None = None
) -> Tensor:
    """Distances along the optical axis of distances along rays.

    Rays start at the projection centre, which is the middle of the thin lens of
    `optics.blur.from_lens_m`; the result counts from where the camera record says, as all
    distances do: with the sensor as reference it is longer by the image distance.

    Args:
        ray_m: `[H, W]` from the projection centre [m], 0 unknown.
        camera: The camera that took the image.
        placement: Where the image sits on the sensor.
        focal_length_px: In pixels of the image; None: the camera record's.

    Returns:
        `[H, W]` [m] from the camera record's reference, 0 unknown.
    """
    image_m = image_distance_m(camera)
    focal_px = focal_length_px or image_m / (camera.pixel_pitch_um * 1e-6) / placement.scale
    centre_px = placement.to_image(camera.centre_px)
    depth_m = ray_m * torch.from_numpy(axis_cosine(focal_px, centre_px, *ray_m.shape))
    return torch.where(ray_m > 0, depth_m + reference_m(camera), 0.0)


def frame_from_rays(ray_m: Tensor, focal_length_px: float) -> Tensor:
    """`from_rays` of an rgbd frame: its own camera looks through the middle of the picture.

    The result counts from that camera's projection centre, as maps of kind z of such frames do.
    """
    height, width = ray_m.shape
    cosine = axis_cosine(focal_length_px, (width / 2, height / 2), height, width)
    return ray_m * torch.from_numpy(cosine)


def read_stored(path: Path) -> Tensor:
    """Read a map of a capture set as `[H, W]` float32 metres; 0 where unknown.

    Raises:
        CaptureError: If the file cannot be read or is no such map.
    """
    numbers = read_numbers(path)
    expected = np.float32 if path.suffix in TIFF_SUFFIXES else np.uint16
    if numbers.dtype != expected:
        raise CaptureError(
            f"{path} is no stored distance map",
            got=f"{numbers.dtype} samples",
            expected="16-bit PNG of millimetres, or 32-bit TIFF of metres",
        )
    if expected is np.float32:
        return torch.from_numpy(np.asarray(numbers, dtype=np.float32))
    return torch.from_numpy(numbers.astype(np.float32) / 1000)


def write_stored(stem: Path, distance_m: Tensor) -> Path:
    """Write `[H, W]` metres (0 unknown) and return the file.

    A 16-bit PNG of millimetres where that is exact to 0.1 %, otherwise float32 TIFF: near the
    camera half a millimetre counts, and 16 bits end at 65.535 m.

    Args:
        stem: Path without a suffix.
        distance_m: The map.

    Raises:
        CaptureError: If a distance is negative or not finite.
    """
    metres = distance_m.numpy()
    if not (np.isfinite(metres).all() and metres.min() >= 0):
        raise CaptureError(
            "distances cannot be stored",
            got=f"{metres.min():.3f} to {metres.max():.3f} m",
            expected="0 (unknown) or more, and finite",
        )
    millimetres = np.rint(metres.astype(np.float64) * 1000)
    rounding_m = np.abs(millimetres / 1000 - metres)
    if metres.max() <= LARGEST_PNG_M and (rounding_m <= PNG_ERROR * metres).all():
        path = stem.with_name(f"{stem.name}.png")
        Image.fromarray(millimetres.astype(np.uint16)).save(path, compress_level=1)
        return path
    path = stem.with_name(f"{stem.name}.tif")
    write_tiff(path, metres.astype(np.float32), compression="deflate", predictor=True)
    return path


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
