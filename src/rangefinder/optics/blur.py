"""Blur diameter of a lens over distance and field: thin-lens geometry, or from a PSF bank."""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from rangefinder.camera import Camera
from rangefinder.common.sealed import read_arrays, write_arrays
from rangefinder.config import Interval
from rangefinder.errors import LensError

if TYPE_CHECKING:
    from scipy.interpolate import RegularGridInterpolator
    from torch import Tensor


Float = NDArray[np.float64]
BLUR_SHARE = 0.42  # of the side of the teacher's patch: larger blur is more than a patch shows
DIAMETER_OVER_RMS = 2.0 * math.sqrt(2.0)  # of a uniform disc: diameter / rms radius
_ARRAYS = ("discs_px", "inverse_dpt", "field_y_px", "field_x_px")


def image_distance_m(camera: Camera) -> float:
    """Distance from the lens to the sensor [m] at the camera record's focus distance."""
    focal_m = camera.focal_length_mm / 1000
    focus_m = camera.focus_distance_m + camera.distance_offset_m
    if camera.distance_reference != "sensor":
        return focal_m * focus_m / (focus_m - focal_m)
    # The two parts of `focus_m` obey the lens equation: their product is focal_m times their sum.
    return (focus_m - math.sqrt(max(focus_m**2 - 4 * focal_m * focus_m, 0.0))) / 2


def reference_m(camera: Camera) -> float:
    """Distance from the zero of the camera record's distances to the lens [m]."""
    reference_m = image_distance_m(camera) if camera.distance_reference == "sensor" else 0.0
    return reference_m - camera.distance_offset_m


def from_lens_m(camera: Camera, distance_m: NDArray[np.floating] | float) -> Float:
    """Distances from the lens [m] of distances in the camera record's terms [m]."""
    return np.maximum(np.asarray(distance_m, dtype=np.float64) - reference_m(camera), 0.0)


def nearest_focus_m(camera: Camera) -> float:
    """Focus distance [m] at unit magnification; the record cannot tell nearer ones apart."""
    focal_lengths = 4 if camera.distance_reference == "sensor" else 2
    return focal_lengths * camera.focal_length_mm / 1000 - camera.distance_offset_m


def nearest_object_m(camera: Camera) -> float:
    """Distance [m] of objects two focal lengths from the lens, nearer than which nothing is traced.

    Raises:
        LensError: If the lens does not focus as near as the camera record says.
    """
    if camera.focus_distance_m <= nearest_focus_m(camera):
        raise LensError(
            f"a lens of {camera.focal_length_mm:g} mm does not focus this near",
            got=f"camera.focus_distance_m {camera.focus_distance_m:g}",
            expected=f"more than {nearest_focus_m(camera):g} m",
            todo="Measure it from the sensor, in metres, or set camera.distance_reference.",
        )
    return 2 * camera.focal_length_mm / 1000 + reference_m(camera)


def require_room(camera: Camera, distances_m: NDArray[np.floating] | Interval) -> None:
    """Refuse distances [m] nearer than `nearest_object_m`.

    Raises:
        LensError: If one is, or the lens does not focus as near as the camera record says.
    """
    nearest_m, found_m = nearest_object_m(camera), float(np.min(distances_m))
    if found_m < nearest_m:
        raise LensError(
            f"a lens of {camera.focal_length_mm:g} mm does not work this near",
            got=f"{found_m:g} m in range.working_m",
            expected=f"{math.ceil(1e4 * nearest_m) / 1e4:g} m or more",
            todo="Let range.working_m begin there.",
        )


def blur_limits_m(camera: Camera, most_px: float) -> Interval:
    """Nearest and farthest distance [m] of points that blur over at most `most_px`."""
    behind = reference_m(camera)
    focus_dpt = 1 / float(from_lens_m(camera, camera.focus_distance_m))
    change_dpt = most_px / blur_px_per_dpt(camera)
    farthest_dpt = focus_dpt - change_dpt
    near_m = 1 / (focus_dpt + change_dpt) + behind
    return near_m, 1 / farthest_dpt + behind if farthest_dpt > 0 else math.inf


def blur_px(camera: Camera, distance_m: NDArray[np.floating] | float) -> Float:
    """Circle of confusion [px] of points at a distance [m]: linear in dioptres of defocus."""
    aperture_m = camera.focal_length_mm / 1000 / camera.f_number
    focus_dpt = 1 / from_lens_m(camera, camera.focus_distance_m)
    defocus_dpt = np.abs(1 / from_lens_m(camera, distance_m) - focus_dpt)
    pitch_m = camera.pixel_pitch_um * 1e-6
    return np.asarray(aperture_m * image_distance_m(camera) * defocus_dpt / pitch_m)


def blur_px_per_dpt(camera: Camera) -> float:
    """Change of the blur circle [px] with inverse distance [dpt]."""
    aperture_m = camera.focal_length_mm / 1000 / camera.f_number
    return aperture_m * image_distance_m(camera) / (camera.pixel_pitch_um * 1e-6)


def reduction_times(camera: Camera, patch_px: int, range_m: Interval) -> int:
    """How often to reduce photos, so that a patch shows the largest blur over a range [m]."""
    return math.ceil(_most_px(camera, range_m) / (BLUR_SHARE * patch_px))


def _most_px(camera: Camera, range_m: Interval) -> float:
    return float(blur_px(camera, np.asarray(range_m)).max())


def reduction_advice(
    camera: Camera, patch_px: int, range_m: Interval, least_times: int = 1
) -> list[str]:
    """How often to reduce photos whose blur is too much for a patch; empty if it is not.

    Args:
        camera: The camera record.
        patch_px: Side of the teacher's patch [px].
        range_m: Nearest and farthest distance [m].
        least_times: Reduction that is needed for another reason.
    """
    for_blur = reduction_times(camera, patch_px, range_m)
    if for_blur <= 1:
        return []
    times = max(for_blur, least_times)
    return [
        f"Reduce the photos {times} times, by area averages: their blur of up to "
        f"{_most_px(camera, range_m):.0f} px is more than the {BLUR_SHARE * patch_px:.0f} px that "
        f"a patch of {patch_px} px shows; in the camera record write "
        f"{camera.reduced_entries(times)}."
    ]


def pixel_m(camera: Camera, distance_m: NDArray[np.floating] | float) -> Float:
    """Side [m] of what one pixel covers of a frontal plane at a distance [m]."""
    pitch_m = camera.pixel_pitch_um * 1e-6
    return np.asarray(from_lens_m(camera, distance_m) * pitch_m / image_distance_m(camera))


@dataclass(frozen=True)
class ThinBlur:
    """Blur of a thin lens, the same everywhere on the sensor."""

    camera: Camera

    @property
    def fingerprint(self) -> str:
        """Hash of all that the blur depends on."""
        return f"thin {self.camera.fingerprint}"

    def diameter_px(self, inverse_dpt: float, x_px: float, y_px: float) -> float:
        """See `TracedBlur.diameter_px`."""
        return float(blur_px(self.camera, 1 / inverse_dpt))


@dataclass(frozen=True, eq=False)
class TracedBlur:
    """Blur of a lens whose point spread functions are known.

    Aberrations shift the sharpest distance and leave blur there, and in the corners of the field a
    lens with vignetting blurs half as much as a thin one.
    """

    discs_px: Float  # `[D, Fy, Fx]` diameter of the disc of the same rms width [sensor px]
    inverse_dpt: Float  # `[D]` inverse distances, ascending [dpt]
    field_y_px: Float  # `[Fy]` field nodes [sensor px]
    field_x_px: Float  # `[Fx]` likewise

    @property
    def fingerprint(self) -> str:
        """Hash of the content."""
        digest = hashlib.sha256()
        for name in _ARRAYS:
            digest.update(np.ascontiguousarray(getattr(self, name)).tobytes())
        return f"traced {digest.hexdigest()[:16]}"

    def diameter_px(self, inverse_dpt: float, x_px: float, y_px: float) -> float:
        """Diameter of the disc [sensor px] of the same rms width as the blur of a point.

        Args:
            inverse_dpt: Its inverse distance [dpt], clipped to the traced range.
            x_px: Its place on the sensor [px], clipped to the sensor.
            y_px: Likewise.
        """
        wanted = (inverse_dpt, y_px, x_px)
        inside = [np.clip(at, *axis[[0, -1]]) for at, axis in zip(wanted, self._axes, strict=True)]
        return float(self._interpolator(inside)[0])

    @property
    def _axes(self) -> tuple[Float, Float, Float]:
        return self.inverse_dpt, self.field_y_px, self.field_x_px

    @cached_property
    def _interpolator(self) -> RegularGridInterpolator:
        from scipy.interpolate import RegularGridInterpolator

        return RegularGridInterpolator(self._axes, self.discs_px)

    def save(self, path: Path) -> None:
        """Write a safetensors file."""
        write_arrays(path, {name: getattr(self, name) for name in _ARRAYS})

    @classmethod
    def load(cls, path: Path) -> TracedBlur:
        """Read what `save` wrote.

        Raises:
            LensError: If it is damaged, or another file.
        """
        try:
            arrays, _ = read_arrays(path, _ARRAYS)
        except (OSError, ValueError) as exc:
            raise LensError(f"{path} holds no blur diameters of a lens ({exc})") from exc
        return cls(*(arrays[name] for name in _ARRAYS))


Blur = ThinBlur | TracedBlur


def disc_px(kernels: Tensor) -> Float:
    """Diameter `[...]` [px] of the disc of the same rms width as kernels `[..., k, k]`."""
    weights = kernels.double().numpy()
    reach = np.arange(weights.shape[-1]) - weights.shape[-1] // 2
    rows, cols = weights.sum(-1), weights.sum(-2)
    light = rows.sum(-1)
    square = ((rows + cols) @ reach**2) / light
    middle = ((rows @ reach) / light) ** 2 + ((cols @ reach) / light) ** 2
    return np.asarray(DIAMETER_OVER_RMS * np.sqrt(np.maximum(square - middle, 0.0)))
