"""Which part of the pupil an object point sees, and which object point a place on the sensor sees.

Import this module only where a bank is built: it compiles on first use.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from rangefinder.errors import LensError
from rangefinder.optics.prescription import FocusedLens
from rangefinder.optics.trace import trace_pupil, trace_rays

Float = NDArray[np.float64]
PROBE_RAYS = 49  # rays across the pupil that find which part of it is open
PROBE_EXTENTS = (2.0, 4.0, 8.0)  # half sides searched [paraxial pupil radii]
HEIGHT_STEPS = 60  # fixed-point steps; each shrinks the error by about the relative distortion
HEIGHT_TOLERANCE = 1e-9  # relative


def open_pupil(
    lens: FocusedLens, wavelength: int, point: tuple[float, float]
) -> tuple[float, float, float]:
    """Find the part of the pupil plane whose rays reach the sensor.

    Args:
        lens: The focused lens.
        wavelength: Row of `lens.indices`.
        point: Object point (z, x) [mm].

    Returns:
        Lowest x, highest x and highest y [mm], with a margin.

    Raises:
        LensError: If no ray of the point reaches the sensor.
    """
    rows = (PROBE_RAYS + 1) // 2
    landing = np.empty((1, rows, 3, PROBE_RAYS))
    for extent in PROBE_EXTENTS:
        side = extent * lens.pupil_radius_mm
        box = (-side, side, side)
        indices = lens.indices[wavelength : wavelength + 1]
        middle = np.full((1, 2), 0.5)
        trace_pupil(lens.surfaces, indices, point, lens.pupil_z_mm, box, middle, landing)
        is_open = landing[0, :, 2] > 0.0
        cols, lines = np.flatnonzero(is_open.any(axis=0)), np.flatnonzero(is_open.any(axis=1))
        if cols.size and cols[0] > 0 and cols[-1] < PROBE_RAYS - 1 and lines[-1] < rows - 1:
            cell = 2.0 * side / PROBE_RAYS
            top = (lines[-1] + 2) * side / rows
            return -side + (cols[0] - 1) * cell, -side + (cols[-1] + 2) * cell, top
    raise LensError(
        "the lens sends no light to part of the sensor",
        got=f"no open pupil for an object {point[1]:.0f} mm off the axis",
        todo="Make the sensor smaller (camera.width_px, camera.pixel_pitch_um), raise "
        "camera.f_number or camera.lens.clear_radius_factor, or choose another camera.lens.name.",
    )


def object_heights_mm(
    lens: FocusedLens, wavelength: int, object_z_mm: Float, radii_mm: Float
) -> Float:
    """Heights of object points whose chief rays land at given distances from the sensor's centre.

    Args:
        lens: The focused lens.
        wavelength: Row of `lens.indices`.
        object_z_mm: `[D]` places of the objects.
        radii_mm: `[R]` distances from the sensor's optical centre.

    Returns:
        `[D, R]` heights above the axis [mm].

    Raises:
        LensError: If a place of the sensor is beyond the lens's picture.
    """
    depth = lens.pupil_z_mm - object_z_mm[:, None]
    height: Float = radii_mm * depth / (lens.surfaces[-1, 0] - lens.pupil_z_mm)
    surfaces = lens.surfaces.copy()
    surfaces[:, 3] = np.inf
    for _ in range(HEIGHT_STEPS):
        norm = np.hypot(height, depth)
        rays = np.zeros((7, height.size))
        rays[0], rays[2] = height.ravel(), np.broadcast_to(object_z_mm[:, None], height.shape).flat
        rays[3], rays[5], rays[6] = (-height / norm).flat, (depth / norm).flat, 1.0
        trace_rays(rays, surfaces, lens.indices[wavelength])
        landed = -rays[0].reshape(height.shape)
        error = np.abs(landed - radii_mm)
        if not np.all(rays[6] > 0.0):
            break
        if np.all(error <= HEIGHT_TOLERANCE * radii_mm.max(initial=1.0)):
            return height
        height = height * np.divide(radii_mm, landed, out=np.ones_like(height), where=landed > 0.0)
    raise LensError(
        "the sensor is larger than the lens's picture",
        got=f"a corner {radii_mm.max():.1f} mm from the optical centre",
        todo="Make the sensor smaller (camera.width_px, camera.pixel_pitch_um) or choose another "
        "camera.lens.name.",
    )
