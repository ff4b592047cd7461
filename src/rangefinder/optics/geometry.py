"""What a thin lens does: where it focuses, how much it blurs, how wide it sees."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from rangefinder.camera import Camera

Array = NDArray[np.float64]


def image_distance_m(camera: Camera) -> float:
    """Distance from the lens to the sensor [m] when it is focused as the record says."""
    focal_m, focus_m = camera.focal_length_mm / 1000, camera.focus_distance_m
    if camera.distance_reference != "sensor":
        return focal_m * focus_m / (focus_m - focal_m)
    # The two parts of `focus_m` obey the lens equation: their product is focal_m times their sum.
    return (focus_m - math.sqrt(max(focus_m**2 - 4 * focal_m * focus_m, 0.0))) / 2


def from_lens_m(camera: Camera, distance_m: NDArray[np.floating] | float) -> Array:
    """Distances from the lens [m] of distances from the camera record's reference [m]."""
    behind = image_distance_m(camera) if camera.distance_reference == "sensor" else 0.0
    return np.maximum(np.asarray(distance_m, dtype=np.float64) - behind, 0.0)


def blur_px(camera: Camera, distance_m: NDArray[np.floating] | float) -> Array:
    """Diameter of the blur disc [px] of points at a distance [m]: linear in dioptres."""
    aperture_m = camera.focal_length_mm / 1000 / camera.f_number
    focus_dpt = 1 / from_lens_m(camera, camera.focus_distance_m)
    defocus_dpt = np.abs(1 / from_lens_m(camera, distance_m) - focus_dpt)
    pitch_m = camera.pixel_pitch_um * 1e-6
    return np.asarray(aperture_m * image_distance_m(camera) * defocus_dpt / pitch_m)


def pixel_m(camera: Camera, distance_m: NDArray[np.floating] | float) -> Array:
    """What one pixel sees [m] of a plane at a distance [m]."""
    pitch_m = camera.pixel_pitch_um * 1e-6
    return np.asarray(from_lens_m(camera, distance_m) * pitch_m / image_distance_m(camera))
