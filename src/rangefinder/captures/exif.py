"""What a photo's EXIF says of the lens, against the camera record."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from rangefinder.camera import Camera

FOCAL_LENGTH, F_NUMBER, SUBJECT_DISTANCE = 0x920A, 0x829D, 0x9206
CAMERA_NAMES = (0x010F, 0x0110, 0xA434)  # make, model, lens
FOCAL_LENGTH_TOLERANCE = 0.03  # relative; EXIF rounds
F_NUMBER_TOLERANCE = 0.06  # relative; a third of a stop is 0.12
FOCUS_TOLERANCE = 0.15  # relative; lenses report it coarsely


def other_lens(exif: Mapping[int, Any], camera: Camera) -> str:
    """How focal length and f-number contradict the camera record; empty if they don't."""
    checks = (
        (FOCAL_LENGTH, "focal length [mm]", camera.focal_length_mm, FOCAL_LENGTH_TOLERANCE),
        (F_NUMBER, "f-number", camera.f_number, F_NUMBER_TOLERANCE),
    )
    return _differences(exif, checks)


def other_focus(exif: Mapping[int, Any], camera: Camera) -> str:
    """How the focus distance contradicts the camera record; empty if it doesn't."""
    focus = (SUBJECT_DISTANCE, "focus distance [m]", camera.focus_distance_m, FOCUS_TOLERANCE)
    return _differences(exif, (focus,))


def camera_name(exif: Mapping[int, Any]) -> str:
    """Make, model and lens as EXIF spells them; empty if it says nothing."""
    return " ".join(str(exif[tag]).strip(" \0") for tag in CAMERA_NAMES if tag in exif)


def _differences(exif: Mapping[int, Any], checks: tuple[tuple[int, str, float, float], ...]) -> str:
    return "; ".join(_difference(exif, checks))


def _difference(
    exif: Mapping[int, Any], checks: tuple[tuple[int, str, float, float], ...]
) -> Iterator[str]:
    for tag, name, expected, tolerance in checks:
        stated = _number(exif.get(tag))
        if stated and abs(stated / expected - 1) > tolerance:
            yield f"EXIF says {name} {stated:g}, the camera record {expected:g}"


def _number(value: Any) -> float:
    """A positive EXIF number; 0 where there is none (0 and infinity stand for unknown)."""
    try:
        number = float(value)
    except (TypeError, ValueError, ZeroDivisionError):
        return 0.0
    return number if 0.0 < number < 1e6 else 0.0
