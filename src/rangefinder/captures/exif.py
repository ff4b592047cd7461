"""EXIF tags of a photo, and where they contradict the camera record."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from numpy.typing import NDArray
from PIL import Image
from PIL.ExifTags import IFD, Base

from rangefinder.camera import Camera

CAMERA_TAGS = (Base.Make, Base.Model, Base.LensModel)
FOCAL_LENGTH_TOLERANCE = 0.03  # relative; EXIF rounds
F_NUMBER_TOLERANCE = 0.06  # relative; a third of a stop is 0.12
FOCUS_TOLERANCE = 0.15  # relative; lenses report it coarsely


def exif_tags(exif: Image.Exif) -> dict[int, Any]:
    """All tags by number, those about the exposure among them."""
    return {**exif, **exif.get_ifd(IFD.Exif)}


def is_turned(exif: Mapping[int, Any]) -> bool:
    """Whether a picture is to be turned or mirrored for display."""
    return exif.get(Base.Orientation, 1) not in (0, 1)


def upright(pixels: NDArray[Any], orientation: int) -> NDArray[Any]:
    """Turn `[H, W, ...]` as stored for display; EXIF orientations 2 to 8 mirror, turn, or both."""
    if orientation in (5, 6, 7, 8):
        pixels = pixels.swapaxes(0, 1)
    if orientation in (2, 3, 6, 7):
        pixels = pixels[:, ::-1]
    if orientation in (3, 4, 7, 8):
        pixels = pixels[::-1]
    return pixels


def turned_by_a_quarter(width: int, height: int, camera: Camera) -> str:
    """What may be amiss with a picture whose sides are those of the camera's, swapped."""
    if (width, height) != (camera.height_px, camera.width_px) or width == height:
        return ""
    return (
        "it seems turned by a quarter: with captures.orientation: ignore photos may be held any "
        "way, but must be as the camera stored them"
    )


def lens_difference(exif: Mapping[int, Any], camera: Camera) -> str:
    """How focal length and f-number differ from the camera record; empty if they do not."""
    focal_length, f_number = camera.focal_length_mm, camera.f_number
    differences = (
        _difference(
            exif, Base.FocalLength, "focal length [mm]", focal_length, FOCAL_LENGTH_TOLERANCE
        ),
        _difference(exif, Base.FNumber, "f-number", f_number, F_NUMBER_TOLERANCE),
    )
    return "; ".join(filter(None, differences))


def focus_difference(exif: Mapping[int, Any], camera: Camera) -> str:
    """How the focus distance differs from the camera record; empty if it does not."""
    focus_m = camera.focus_distance_m
    return _difference(exif, Base.SubjectDistance, "focus distance [m]", focus_m, FOCUS_TOLERANCE)


def camera_name(exif: Mapping[int, Any]) -> str:
    """Make, model and lens as EXIF spells them; empty if there are none."""
    return " ".join(str(exif[tag]).strip(" \0") for tag in CAMERA_TAGS if tag in exif)


def _difference(
    exif: Mapping[int, Any], tag: Base, name: str, expected: float, tolerance: float
) -> str:
    """Empty where the tag is missing or not a positive number: 0 and infinity mean unknown."""
    try:
        found = float(exif.get(tag, 0.0))
    except (TypeError, ValueError, ZeroDivisionError):
        return ""
    if not 0.0 < found < 1e6 or abs(found / expected - 1) <= tolerance:
        return ""
    return f"EXIF has {name} {found:g}, the camera record {expected:g}"
