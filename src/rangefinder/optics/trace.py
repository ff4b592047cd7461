"""Real rays through centred spherical and conic surfaces, in double precision.

Import this module only where rays are traced: it compiles on first use. The choice between the two
crossings of a conic and the clipping follow optiland, which the tests hold it to. All compiled
functions that call each other stand in one file: numba's cache notices changes of a function's own
file only.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from rangefinder.optics.jit import compiled

Float = NDArray[np.float64]
# x, y, z, direction cosines and weight as separate arrays: one 2-D array hides from the compiler
# that they do not overlap, and costs it the vector instructions (6 times the time).
Rays = tuple[Float, Float, Float, Float, Float, Float, Float]


@compiled
def trace_rays(rays: Float, surfaces: Float, indices: Float) -> None:
    """Carry rays through all surfaces, in place; the last surface is the image.

    Args:
        rays: `[7, N]` x, y, z [mm], direction cosines along them, weight. Positions end on the
            last surface. The weight of a ray that misses a surface, is totally reflected or falls
            outside a clear radius becomes 0, and its position means nothing.
        surfaces: `[S, 4]` vertex z [mm], radius of curvature [mm] (inf: plane), conic constant,
            clear radius [mm] (inf: unlimited).
        indices: `[S + 1]` refractive index before the first and after each surface.
    """
    rows = (rays[0], rays[1], rays[2], rays[3], rays[4], rays[5], rays[6])
    for s in range(surfaces.shape[0]):
        vertex, radius, conic, clear = surfaces[s]
        _shift(rays[2], -vertex)
        if math.isinf(radius):
            _meet_plane(rows, clear)
            _bend(rows, 0.0, conic, indices[s] / indices[s + 1])
        else:
            _meet_conic(rows, radius, conic, clear)
            _bend(rows, 1.0 / radius, conic, indices[s] / indices[s + 1])
        _shift(rays[2], vertex)


@compiled
def _shift(z: Float, offset: float) -> None:
    """Change the origin of z."""
    for i in range(z.size):
        z[i] += offset


@compiled
def _meet_plane(rays: Rays, clear: float) -> None:
    """Move rays to the plane z = 0 and clip them."""
    x, y, z, u, v, w, weight = rays
    for i in range(x.size):
        step = -z[i] / w[i]
        x[i] += step * u[i]
        y[i] += step * v[i]
        z[i] = 0.0
        inside = x[i] * x[i] + y[i] * y[i] <= clear * clear
        weight[i] = weight[i] if inside else 0.0


@compiled
def _meet_conic(rays: Rays, radius: float, conic: float, clear: float) -> None:
    """Move rays to the conic whose vertex is the origin, and clip them.

    The crossing chosen lies ahead of the ray and on the vertex's side of the conic, preferably
    inside the clear radius and near; without such a one, it is the crossing nearest the vertex.
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
        inside = (square >= 0.0) & ((r2 if pick2 else r1) <= clear2)
        weight[i] = weight[i] if inside else 0.0


@compiled
def _bend(rays: Rays, curvature: float, conic: float, ratio: float) -> None:
    """Refract rays (Snell's law in vector form) at the surface they stand on.

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
        norm = 1.0 / math.sqrt(p * p + q * q + s * s)
        cosine = (u[i] * p + v[i] * q + w[i] * s) * norm
        square = 1.0 - ratio * ratio * (1.0 - cosine * cosine)
        root = math.copysign(math.sqrt(max(square, 0.0)), cosine)
        along = (root - ratio * cosine) * norm
        u[i] = ratio * u[i] + along * p
        v[i] = ratio * v[i] + along * q
        w[i] = ratio * w[i] + along * s
        weight[i] = weight[i] if square >= 0.0 else 0.0


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
    """Trace a grid of rays through the upper half of the pupil (the lower half mirrors it).

    Args:
        surfaces: `[S, 4]`, see `trace_rays`.
        indices: `[W, S + 1]`.
        point: Object point (z, x) [mm]; y = 0.
        pupil_z: Plane of the grid [mm].
        box: Open part of the pupil: lowest x, highest x, highest y [mm].
        offsets: `[W, 2]` place of the rays in their grid cells, 0..1, in y and x.
        landing: `[W, rows, 3, cols]` receives x, y [mm] and weight of each ray. The weight is the
            flux per pupil area of a Lambertian object: the fourth power of the cosine to the axis.
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
    """Add rays and their mirror images to a histogram, each shared bilinearly by four cells.

    Args:
        landing: `[rows, 3, cols]` x, y [mm] and weight, for an object point on the x axis.
        centre: Landing place [mm] on the x axis that goes to the middle of the histogram.
        scale: Cells per mm; negative, since the image stands upside down on the sensor.
        turn: Cosine and sine of the angle from the x axis to the field point, y down.
        cells: `[N, N]` y, x; rays that land outside are left out.
    """
    side = cells.shape[0]
    middle = 0.5 * (side - 1)
    for row in range(landing.shape[0]):
        for col in range(landing.shape[2]):
            weight = landing[row, 2, col]
            if weight > 0.0:
                along = (landing[row, 0, col] - centre) * scale
                for across in (landing[row, 1, col] * scale, -landing[row, 1, col] * scale):
                    x = middle + along * turn[0] - across * turn[1]
                    y = middle + along * turn[1] + across * turn[0]
                    if 0.0 <= x < side - 1 and 0.0 <= y < side - 1:
                        i, j = int(y), int(x)
                        fy, fx = y - i, x - j
                        cells[i, j] += weight * (1.0 - fy) * (1.0 - fx)
                        cells[i, j + 1] += weight * (1.0 - fy) * fx
                        cells[i + 1, j] += weight * fy * (1.0 - fx)
                        cells[i + 1, j + 1] += weight * fy * fx
