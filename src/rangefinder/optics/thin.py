"""Point spread functions of a thin lens with a little colour and spherical aberration.

For a camera of which only focal length, f-number and pixel pitch are known. It has the right size
of blur, and front and back of the focus differ by its aberrations, whose amounts are assumed, not
those of a particular lens. It knows no vignetting but the fourth power of the cosine, and blur is
the same all over the field.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from rangefinder.camera import Camera
from rangefinder.config import BankParams
from rangefinder.errors import LensError
from rangefinder.optics.geometry import from_lens_m, image_distance_m
from rangefinder.optics.kernels import LOST_LIGHT, FieldPoints, Sampling, too_small

Float = NDArray[np.float64]
GREEN_UM, BLUE_UM, RED_UM = 0.55, 0.45, 0.65


def thin_kernels(
    camera: Camera, params: BankParams, distances_m: Float, field: FieldPoints
) -> tuple[NDArray[np.float32], Float]:
    """Kernels of a thin lens.

    Args:
        camera: The camera record.
        params: Bank parameters.
        distances_m: `[D]` distances, far to near.
        field: `P` places on the sensor.

    Returns:
        Kernels `[D, P, 3, k, k]`, each of sum 1, and flux `[D, P]` relative to the axis.

    Raises:
        LensError: If the lens does not focus this near, or blurs more than a kernel holds.
    """
    sampling = Sampling.of(camera, params)
    object_mm, image_mm = conjugates_mm(camera, distances_m)
    kernels = np.stack([_kernel(camera, sampling, u, image_mm) for u in object_mm])
    angle = np.arctan(field.radii_px * camera.pixel_pitch_um / 1000 / image_mm)
    flux = (np.cos(angle) ** 4)[field.point_radius]
    points = field.point_radius.size
    every = np.broadcast_to(kernels[:, None], (len(kernels), points, *kernels.shape[1:]))
    return every.astype(np.float32), np.broadcast_to(flux, (len(kernels), points)).copy()


def conjugates_mm(camera: Camera, distances_m: Float) -> tuple[Float, float]:
    """Distances of objects from the lens `[D]`, and of the sensor from the lens [mm].

    Raises:
        LensError: If the lens does not focus at the camera's focus distance, or an object stands at
            the lens.
    """
    focal, focus = camera.focal_length_mm, 1000 * camera.focus_distance_m
    nearest = (4 if camera.distance_reference == "sensor" else 2) * focal  # image as large as life
    objects = 1000 * from_lens_m(camera, distances_m) if focus > nearest else np.zeros(1)
    if np.any(objects <= 2 * focal):
        raise LensError(
            "the lens does not work this near",
            got=f"camera.focus_distance_m {camera.focus_distance_m:g}, "
            f"nearest distance {np.min(distances_m):g} m",
            expected=f"more than {4 * focal / 1000:g} m",
            todo="Set camera.focus_distance_m and range.working_m farther away.",
        )
    return objects, 1000 * image_distance_m(camera)


def _kernel(camera: Camera, sampling: Sampling, object_mm: float, image_mm: float) -> Float:
    """Kernels of the three colours `[3, k, k]` of a point on the axis."""
    params = sampling.params
    groups = params.wavelengths_um
    cells = np.zeros((3, *(sampling.response.shape[1],) * 2))
    for colour, group in enumerate(groups):
        for wavelength in group:
            _splat(camera, sampling, (object_mm, image_mm, wavelength), cells[colour])
    kernels = sampling.response @ cells @ sampling.response.T
    kept = kernels.sum(axis=(1, 2), keepdims=True)
    lost = 1 - float((kept.ravel() / [len(group) for group in groups]).min())
    if lost > LOST_LIGHT:
        raise too_small(lost, params, "Raise bank.kernel_px")
    return np.asarray(kernels / kept)


def _splat(
    camera: Camera, sampling: Sampling, point: tuple[float, float, float], cells: Float
) -> None:
    """Add the rays of one wavelength, of total weight 1."""
    from rangefinder.optics.trace import splat

    samples = sampling.params.pupil_samples
    grid = (np.arange(samples) + 0.5) / samples * 2 - 1
    x, y = np.meshgrid(grid, grid[samples // 2 :])
    radius2 = x**2 + y**2
    spread_mm = _spread_mm(camera, point, radius2)
    landing = np.stack([x * spread_mm, y * spread_mm, (radius2 <= 1).astype(np.float64)], axis=1)
    # `splat` mirrors every ray; the middle row of an odd grid would count twice.
    landing[0, 2] *= 0.5 if samples % 2 else 1.0
    landing[:, 2] /= 2 * landing[:, 2].sum()
    splat(landing, 0.0, sampling.cells_per_mm, (1.0, 0.0), cells)


def _spread_mm(camera: Camera, point: tuple[float, float, float], radius2: Float) -> Float:
    """Height on the sensor of rays through the pupil, per unit of pupil radius [mm]."""
    object_mm, image_mm, wavelength = point
    focal = camera.focal_length_mm
    pupil_mm = focal / camera.f_number / 2
    colour = camera.lens.axial_colour * (wavelength - GREEN_UM) / (RED_UM - BLUE_UM)
    zone = camera.lens.spherical * (radius2 - 0.5)  # the zone that focus is set for
    power = 1 / (focal * (1 + colour + zone))
    return np.asarray(pupil_mm * (1 - image_mm * (power - 1 / object_mm)))
