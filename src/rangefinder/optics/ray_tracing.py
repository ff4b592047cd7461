"""Sequential ray tracing through centred conics and aspheres; the open pupil; chief rays.

Import this module only where a PSF bank is built: it compiles on first use.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from rangefinder.common.compute import compiled
from rangefinder.errors import LensError
from rangefinder.optics.lens_formats import OTHER_LENS
from rangefinder.optics.prescription import FocusedLens, outside_image_circle

PROBE_RAYS = 49  # rays across the pupil that find which part of it is open
PROBE_EXTENTS = (2.0, 4.0, 8.0)  # half sides searched [paraxial pupil radii]
HEIGHT_STEPS = 60  # fixed-point steps; each shrinks the error by about the relative distortion
HEIGHT_TOLERANCE = 1e-9  # relative
NEWTON_STEPS = 50  # a few suffice, but where a ray hardly meets the surface
NEWTON_STEP_MM = 1e-6  # the last step: the error that is left is about its square / radius
Float = NDArray[np.float64]
# x, y, z, direction cosines and weight as separate arrays: in one 2-D array the compiler cannot
# see that they do not overlap, and uses no vector instructions (6 times the time).
Rays = tuple[Float, Float, Float, Float, Float, Float, Float]


@compiled
def trace_rays(rays: Float, surfaces: Float, indices: Float) -> None:
    """Trace rays through all surfaces, in place; the last surface is the image.

    Args:
        rays: `[7, N]` x, y, z [mm], direction cosines along them, weight. Positions end on the
            last surface. The weight of a ray that misses a surface, is totally reflected or passes
            outside a clear radius becomes 0, and its position is undefined.
        surfaces: `[S, 4 + P]` vertex z [mm], radius of curvature [mm] (inf: plane), conic constant,
            clear radius [mm] (inf: unlimited), coefficients of r, r^2, ... r^P [mm^(1 - power)].
        indices: `[S + 1]` refractive index before the first and after each surface.
    """
    rows = (rays[0], rays[1], rays[2], rays[3], rays[4], rays[5], rays[6])
    for s in range(surfaces.shape[0]):
        vertex, radius, conic, clear = surfaces[s, :4]
        ratio = indices[s] / indices[s + 1]
        even, odd = _nonzero(surfaces[s, 5::2]), _nonzero(surfaces[s, 6::2])
        _translate(rays[2], -vertex)
        if math.isinf(radius):
            _intersect_plane(rows)
        else:
            _intersect_conic(rows, radius, conic, clear)
        if even.size + odd.size > 0:
            _intersect_asphere(rows, (1.0 / radius, conic), even, odd)
            _clip(rows, clear)
            _refract_asphere(rows, (1.0 / radius, conic), even, odd, ratio)
        else:
            _clip(rows, clear)
            _refract(rows, 1.0 / radius, conic, ratio)
        _translate(rays[2], vertex)


@compiled
def _translate(z: Float, offset: float) -> None:
    """Change the origin of z."""
    for i in range(z.size):
        z[i] += offset


@compiled
def _intersect_plane(rays: Rays) -> None:
    """Move rays to the plane z = 0."""
    x, y, z, u, v, w, _ = rays
    for i in range(x.size):
        step = -z[i] / w[i]
        x[i] += step * u[i]
        y[i] += step * v[i]
        z[i] = 0.0


@compiled
def _clip(rays: Rays, clear: float) -> None:
    """Stop rays outside the clear aperture, and those that have no position."""
    x, y, _, _, _, _, weight = rays
    for i in range(x.size):
        inside = x[i] * x[i] + y[i] * y[i] <= clear * clear
        weight[i] = weight[i] if inside else 0.0


@compiled
def _intersect_conic(rays: Rays, radius: float, conic: float, clear: float) -> None:
    """Move rays to the conic with its vertex at the origin; those that miss it are stopped.

    Of the two intersections, one ahead of the ray and on the vertex's side of the conic is taken,
    preferably inside the clear radius and near; without such a one, that nearest the vertex.
    """
    x, y, z, u, v, w, weight = rays
    shape, clear2 = 1.0 + conic, clear * clear
    for i in range(x.size):
        a = u[i] * u[i] + v[i] * v[i] + shape * w[i] * w[i]
        b = 2.0 * (u[i] * x[i] + v[i] * y[i] + w[i] * (shape * z[i] - radius))
        c = x[i] * x[i] + y[i] * y[i] + z[i] * (shape * z[i] - 2.0 * radius)
        square = b * b - 4.0 * a * c
        q = -0.5 * (b + math.copysign(math.sqrt(max(square, 0.0)), b))
        far, near = q / a, c / q  # a == 0 (ray along a paraboloid's axis) leaves `far` infinite
        x1, y1, z1 = x[i] + far * u[i], y[i] + far * v[i], z[i] + far * w[i]
        x2, y2, z2 = x[i] + near * u[i], y[i] + near * v[i], z[i] + near * w[i]
        r1, r2 = x1 * x1 + y1 * y1, x2 * x2 + y2 * y2
        ahead1 = (far > 0.0) & (1.0 - shape * z1 / radius >= 0.0)
        ahead2 = (near > 0.0) & (1.0 - shape * z2 / radius >= 0.0)
        nearest2 = ahead2 | ((not ahead1) & (abs(z2) < abs(z1)))
        pick2 = (ahead2 & (r2 <= clear2)) | ((not (ahead1 & (r1 <= clear2))) & nearest2)
        x[i] = x2 if pick2 else x1
        y[i] = y2 if pick2 else y1
        z[i] = z2 if pick2 else z1
        weight[i] = weight[i] if square >= 0.0 else 0.0


@compiled
def _nonzero(coefficients: Float) -> Float:
    """The coefficients without the zeros at their end."""
    size = coefficients.size
    while size > 0 and coefficients[size - 1] == 0.0:
        size -= 1
    return coefficients[:size]


@compiled
def _asphere(r2: float, base: tuple[float, float], even: Float, odd: Float) -> tuple[float, float]:
    """Sag z(r) [mm] of an asphere, and its slope over the radius, dz/dr / r [1/mm]; nan: no z.

    Args:
        r2: Squared distance from the axis [mm^2].
        base: Curvature [1/mm] and conic constant.
        even: Coefficients of r^2, r^4, ... added to the conic.
        odd: Coefficients of r^3, r^5, ...; a surface with one of r is a cone.
    """
    curvature, conic = base
    root = math.sqrt(1.0 - (1.0 + conic) * curvature * curvature * r2)
    sag, slope = curvature / (1.0 + root), curvature / root
    power = 1.0
    for k in range(even.size):
        sag += even[k] * power
        slope += 2 * (k + 1) * even[k] * power
        power *= r2
    power = math.sqrt(r2)
    for k in range(odd.size):
        sag += odd[k] * power
        slope += (2 * k + 3) * odd[k] * power
        power *= r2
    return sag * r2, slope


@compiled
def _intersect_asphere(rays: Rays, base: tuple[float, float], even: Float, odd: Float) -> None:
    """Move rays from a conic to the asphere on it by Newton's method; lost ones are stopped."""
    x, y, z, u, v, w, weight = rays
    for i in range(x.size):
        step = math.inf
        for _ in range(NEWTON_STEPS if weight[i] > 0.0 else 0):
            sag, slope = _asphere(x[i] * x[i] + y[i] * y[i], base, even, odd)
            step = (sag - z[i]) / (w[i] - slope * (x[i] * u[i] + y[i] * v[i]))
            x[i] += step * u[i]
            y[i] += step * v[i]
            z[i] += step * w[i]
            if not abs(step) > NEWTON_STEP_MM:
                break
        weight[i] = weight[i] if abs(step) <= NEWTON_STEP_MM else 0.0


@compiled
def _snell(
    direction: tuple[float, float, float], normal: tuple[float, float, float], ratio: float
) -> tuple[float, float, float, bool]:
    """Refract a direction at a surface (Snell's law in vector form); False: totally reflected.

    Args:
        direction: Unit vector.
        normal: Of any length, on either side.
        ratio: Refractive index before / after.
    """
    u, v, w = direction
    p, q, s = normal
    norm = 1.0 / math.sqrt(p * p + q * q + s * s)
    cosine = (u * p + v * q + w * s) * norm
    square = 1.0 - ratio * ratio * (1.0 - cosine * cosine)
    root = math.copysign(math.sqrt(max(square, 0.0)), cosine)
    along = (root - ratio * cosine) * norm
    return ratio * u + along * p, ratio * v + along * q, ratio * w + along * s, square >= 0.0


@compiled
def _refract_asphere(
    rays: Rays, base: tuple[float, float], even: Float, odd: Float, ratio: float
) -> None:
    """`_refract` at the asphere that the rays are on."""
    x, y, _, u, v, w, weight = rays
    for i in range(x.size):
        _, slope = _asphere(x[i] * x[i] + y[i] * y[i], base, even, odd)
        normal = (slope * x[i], slope * y[i], -1.0)
        u[i], v[i], w[i], passes = _snell((u[i], v[i], w[i]), normal, ratio)
        weight[i] = weight[i] if passes else 0.0


@compiled
def _refract(rays: Rays, curvature: float, conic: float, ratio: float) -> None:
    """Refract rays at the conic they are on.

    Args:
        rays: Positions relative to the vertex, in place.
        curvature: 1 / radius [1/mm].
        conic: Conic constant.
        ratio: Refractive index before / after.
    """
    x, y, z, u, v, w, weight = rays
    for i in range(x.size):
        p, q = curvature * x[i], curvature * y[i]
        s = (1.0 + conic) * curvature * z[i] - 1.0
        u[i], v[i], w[i], passes = _snell((u[i], v[i], w[i]), (p, q, s), ratio)
        weight[i] = weight[i] if passes else 0.0


@compiled
def trace_pupil(
    surfaces: Float,
    indices: Float,
    point: tuple[float, float],
    pupil_z: float,
    box: tuple[float, float, float],
    offsets: Float,
    landing: Float,
) -> None:
    """Trace a grid of rays through the upper half of the pupil; the lower half is its mirror image.

    Args:
        surfaces: `[S, 4 + P]`, see `trace_rays`.
        indices: `[W, S + 1]`.
        point: Object point (z, x) [mm]; y = 0.
        pupil_z: Plane of the grid [mm].
        box: Open part of the pupil: lowest x, highest x, highest y [mm].
        offsets: `[W, 2]` position of the rays in their grid cells, 0..1, in y and x.
        landing: `[W, rows, 3, cols]`, filled with x, y [mm] and weight of each ray. The weight is
            the flux per pupil area of a Lambertian object: cosine to the axis, to the fourth power.
    """
    rows, cols = landing.shape[1], landing.shape[3]
    rays = np.empty((7, cols))
    low, high, top = box
    depth = pupil_z - point[0]
    for w in range(landing.shape[0]):
        for row in range(rows):
            y = (row + offsets[w, 0]) / rows * top
            for col in range(cols):
                x = low + (col + offsets[w, 1]) / cols * (high - low) - point[1]
                norm = 1.0 / math.sqrt(x * x + y * y + depth * depth)
                rays[0, col], rays[1, col], rays[2, col] = point[1], 0.0, point[0]
                rays[3, col], rays[4, col], rays[5, col] = x * norm, y * norm, depth * norm
                rays[6, col] = (depth * norm) ** 4
            trace_rays(rays, surfaces, indices[w])
            landing[w, row, 0] = rays[0]
            landing[w, row, 1] = rays[1]
            landing[w, row, 2] = rays[6]


@compiled
def splat(
    landing: Float, centre: float, scale: float, turn: tuple[float, float], cells: Float
) -> None:
    """Add rays and their mirror images to a histogram, bilinearly over four cells each.

    Args:
        landing: `[rows, 3, cols]` x, y [mm] and weight, for an object point on the x axis.
        centre: x [mm] that falls on the middle of the histogram.
        scale: Cells per mm; negative, since the image on the sensor is upside down.
        turn: Cosine and sine of the angle from the x axis to the field point, y down.
        cells: `[N, N]` y, x; rays that land outside are left out.
    """
    for row in range(landing.shape[0]):
        for col in range(landing.shape[2]):
            weight = landing[row, 2, col]
            if weight > 0.0:
                along = (landing[row, 0, col] - centre) * scale
                across = landing[row, 1, col] * scale
                _add_bilinear(weight, along, across, turn, cells)
                _add_bilinear(weight, along, -across, turn, cells)


@compiled
def _add_bilinear(
    weight: float, along: float, across: float, turn: tuple[float, float], cells: Float
) -> None:
    """Add one ray at (along, across) [cells] from the middle, turned by an angle."""
    side = cells.shape[0]
    middle = 0.5 * (side - 1)
    x = middle + along * turn[0] - across * turn[1]
    y = middle + along * turn[1] + across * turn[0]
    if 0.0 <= x < side - 1 and 0.0 <= y < side - 1:
        i, j = int(y), int(x)
        fy, fx = y - i, x - j
        cells[i, j] += weight * (1.0 - fy) * (1.0 - fx)
        cells[i, j + 1] += weight * (1.0 - fy) * fx
        cells[i + 1, j] += weight * fy * (1.0 - fx)
        cells[i + 1, j + 1] += weight * fy * fx


def open_pupil(
    lens: FocusedLens, wavelength: int, point: tuple[float, float]
) -> tuple[float, float, float]:
    """Bounding box of the part of the pupil plane whose rays reach the sensor.

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
        f"{lens.name} sends no light to part of the sensor",
        got=f"no open pupil for an object {point[1]:.0f} mm off the axis",
        todo="Make the sensor smaller (camera.width_px, camera.pixel_pitch_um), or raise "
        f"camera.f_number or camera.lens.clear_radius_factor. {OTHER_LENS}",
    )


def object_heights_mm(
    lens: FocusedLens, wavelength: int, object_z_mm: Float, radii_mm: Float
) -> Float:
    """Heights of object points whose chief rays land at given image heights (fixed point).

    Args:
        lens: The focused lens.
        wavelength: Row of `lens.indices`.
        object_z_mm: `[D]` positions of the objects on the axis.
        radii_mm: `[R]` image heights: distances from the optical centre of the sensor.

    Returns:
        `[D, R]` heights above the axis [mm].

    Raises:
        LensError: If an image height is outside the lens's image circle.
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
    raise outside_image_circle(lens.name, radii_mm.max())
