"""Point spread functions of a focused lens over distance and field, by ray tracing.

Blur circles here are many times the Airy disc, so spot diagrams suffice: diffraction and the
pixel's aperture are one narrow Gaussian.
"""

from __future__ import annotations

import math
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from rangefinder.camera import Camera
from rangefinder.common.compute import usable_cores
from rangefinder.config import BankParams
from rangefinder.config.imaging import MOST_KERNEL_PX
from rangefinder.errors import LensError
from rangefinder.optics.prescription import FocusedLens

Float = NDArray[np.float64]
MAX_LOST_LIGHT = 1e-3  # share of a point's light that may be outside its kernel
GREEN = 1
QUARTER_TURNS = np.arange(4) * (math.pi / 2)
GAUSSIAN_REACH = 4.0  # standard deviations kept of the pixel and diffraction blur


@dataclass(frozen=True)
class FieldPoints:
    """Field nodes folded into one quadrant around the optical centre."""

    radii_px: Float  # `[R]` distances from the optical centre that are traced; the first is 0
    point_radius: NDArray[np.int64]  # `[P]` index into `radii_px` of each point of the quadrant
    point_angle: Float  # `[P]` its angle from the x axis, y down [rad]
    node_point: NDArray[np.int64]  # `[Fy, Fx]` index of each node's point in the quadrant
    flip_y: NDArray[np.bool_]  # `[Fy]` nodes above the optical centre
    flip_x: NDArray[np.bool_]  # `[Fx]` nodes left of it

    def unfold(self, kernels: NDArray[np.float32]) -> NDArray[np.float32]:
        """Mirror the quadrant `[D, P, 3, k, k]` to all nodes `[D, Fy, Fx, 3, k, k]`."""
        nodes = kernels[:, self.node_point]
        nodes[:, self.flip_y] = nodes[:, self.flip_y, :, :, ::-1]
        nodes[:, :, self.flip_x] = nodes[:, :, self.flip_x, :, :, ::-1]
        return nodes


def fold_field(camera: Camera, field_y_px: Float, field_x_px: Float) -> FieldPoints:
    """Fold field nodes by the lens's symmetry: mirrored nodes share one point of a quadrant."""
    dy, dx = field_y_px - camera.centre_px[1], field_x_px - camera.centre_px[0]
    pairs = np.stack(np.meshgrid(np.abs(dy), np.abs(dx), indexing="ij"), axis=-1).round(6)
    points, node_point = np.unique(pairs.reshape(-1, 2), axis=0, return_inverse=True)
    radius = np.hypot(points[:, 0], points[:, 1]).round(6)
    radii = np.unique(np.concatenate([[0.0], radius]))
    return FieldPoints(
        radii_px=radii,
        point_radius=np.searchsorted(radii, radius),
        point_angle=np.arctan2(points[:, 0], points[:, 1]),
        node_point=node_point.reshape(dy.size, dx.size),
        flip_y=dy < 0.0,
        flip_x=dx < 0.0,
    )


@dataclass(frozen=True)
class Sampling:
    """How the kernels of a bank are sampled."""

    params: BankParams  # bank parameters
    shares: Float  # `[3, W]` share of each wavelength in the light of red, green and blue
    cells_per_mm: float  # histogram cells per mm on the sensor
    response: Float  # `[k, k * subpixel]` cells to pixels: Gaussian blur and summation

    @classmethod
    def of(cls, camera: Camera, params: BankParams) -> Sampling:
        """Derive it from the parameters."""
        cells = params.subpixel * 1000.0 / camera.pixel_pitch_um
        return cls(params, params.spectrum.shares, cells, _pixel_response(params))

    @property
    def green(self) -> int:
        """Index of the wavelength that green responds to most."""
        return int(self.shares[GREEN].argmax())


def _pixel_response(params: BankParams) -> Float:
    """`Sampling.response`."""
    cells = params.kernel_px * params.subpixel
    sigma = params.gaussian_px * params.subpixel
    offset = np.arange(cells)[:, None] - np.arange(cells)[None]
    if sigma > 0.0:
        blur = np.exp(-0.5 * (offset / sigma) ** 2)
        blur[np.abs(offset) > GAUSSIAN_REACH * sigma] = 0.0
        blur /= blur[cells // 2].sum()
    else:
        blur = np.eye(cells)
    return np.asarray(blur.reshape(params.kernel_px, params.subpixel, cells).sum(axis=1))


def trace_kernels(
    lens: FocusedLens, camera: Camera, params: BankParams, distances_m: Float, field: FieldPoints
) -> tuple[NDArray[np.float32], Float]:
    """`psf_sources.lens_kernels` of a focused lens, traced.

    The lens has indices for all of `params.spectrum.wavelengths_um`, in their order.

    Raises:
        LensError: If a kernel is too small, or light does not reach all of the sensor.
    """
    from rangefinder.optics.ray_tracing import object_heights_mm

    sampling = Sampling.of(camera, params)
    object_z = lens.object_z_mm(distances_m)
    green = sampling.green
    radii_mm = field.radii_px * camera.pixel_pitch_um / 1000.0
    heights = object_heights_mm(lens, green, object_z, radii_mm)

    def plane(i: int) -> tuple[NDArray[np.float32], Float]:
        kernels, flux, lost = _plane_kernels(lens, sampling, field, green, object_z[i], heights[i])
        if lost > MAX_LOST_LIGHT:
            ends = [(object_z[end], height) for end in (0, -1) for height in heights[end]]
            reach = max(_reach_px(lens, sampling, green, point) for point in ends)
            needed = kernel_side_px(reach, params)
            raise kernel_too_small(lost, params, larger_kernel(camera, needed))
        return kernels, flux

    with ThreadPoolExecutor(usable_cores()) as pool:
        planes = pool.map(plane, range(object_z.size))
        bar = tqdm(planes, "point spread functions", object_z.size, disable=None, unit="plane")
        kernels, flux = zip(*bar, strict=True)
    return np.stack(kernels), np.stack(flux)


def _plane_kernels(
    lens: FocusedLens,
    sampling: Sampling,
    field: FieldPoints,
    green: int,
    object_z: float,
    heights: Float,
) -> tuple[NDArray[np.float32], Float, float]:
    """Kernels `[P, 3, k, k]`, relative flux `[P]` and the share of lost light at one distance."""
    params = sampling.params
    cells = np.zeros((field.point_radius.size, 3, *(sampling.response.shape[1],) * 2))
    light = np.zeros((field.radii_px.size, 3))
    flux = np.zeros(field.radii_px.size)
    for r, height in enumerate(heights):
        points = np.flatnonzero(field.point_radius == r)
        # On the axis four quarter turns make the kernel as symmetric as the lens; the grid is not.
        turns = QUARTER_TURNS if r == 0 else QUARTER_TURNS[:1]
        landing, area = _trace_point(lens, params, green, (object_z, float(height)))
        weight = landing[:, :, 2]
        light[r] = 2.0 * turns.size * sampling.shares @ weight.sum(axis=(1, 2))
        flux[r] = area * weight.sum()
        for turn in turns:
            _splat_points(landing, sampling, field.point_angle[points] + turn, points, cells)
    kernels = sampling.response @ cells @ sampling.response.T
    kept = kernels.sum(axis=(2, 3))
    lost = 1.0 - float((kept / light[field.point_radius]).min())
    kernels /= np.maximum(kept, np.finfo(np.float64).tiny)[:, :, None, None]
    return kernels.astype(np.float32), (flux / flux[0])[field.point_radius], lost


def _trace_point(
    lens: FocusedLens, params: BankParams, green: int, point: tuple[float, float]
) -> tuple[Float, float]:
    """Rays of one object point at all wavelengths `[W, rows, 3, cols]`, and their pupil area."""
    from rangefinder.optics.ray_tracing import open_pupil, trace_pupil

    box = open_pupil(lens, green, point)
    wavelengths = lens.indices.shape[0]
    # Each wavelength samples other points of the pupil (R2 low-discrepancy sequence, Roberts 2018),
    # so that together they fill the gaps of the grid, which would otherwise appear as moire.
    steps = np.arange(wavelengths)[:, None] * np.array([[0.7548776662, 0.5698402910]])
    rows = (params.pupil_samples + 1) // 2
    landing = np.empty((wavelengths, rows, 3, params.pupil_samples))
    offsets = (0.5 + steps) % 1.0
    trace_pupil(lens.surfaces, lens.indices, point, lens.pupil_z_mm, box, offsets, landing)
    return landing, (box[1] - box[0]) * box[2]


def _green_centroid_mm(landing: Float, sampling: Sampling) -> float:
    """Green centroid on the radial axis of the sensor; across it, it is 0 by symmetry."""
    weight = landing[:, :, 2] * sampling.shares[GREEN, :, None, None]
    return float((weight * landing[:, :, 0]).sum() / weight.sum())


def _splat_points(
    landing: Float, sampling: Sampling, angles: Float, points: NDArray[np.int64], cells: Float
) -> None:
    """Histogram the rays of one field radius at each of its points, around the green centroid."""
    from rangefinder.optics.ray_tracing import splat

    centre = _green_centroid_mm(landing, sampling)
    for angle, point in zip(angles, points, strict=True):
        turn = (math.cos(angle), math.sin(angle))
        spectral = np.zeros((len(landing), *cells.shape[2:]))
        for rays, histogram in zip(landing, spectral, strict=True):
            splat(rays, centre, -sampling.cells_per_mm, turn, histogram)
        cells[point] += np.tensordot(sampling.shares, spectral, axes=1)


def _reach_px(
    lens: FocusedLens, sampling: Sampling, green: int, point: tuple[float, float]
) -> float:
    """Radius [px] around the green centroid that holds almost all light of a point."""
    landing, _ = _trace_point(lens, sampling.params, green, point)
    lit = landing[:, :, 2] > 0.0
    along = landing[:, :, 0] - _green_centroid_mm(landing, sampling)
    reach = np.quantile(np.hypot(along, landing[:, :, 1])[lit], 1.0 - MAX_LOST_LIGHT / 2)
    return float(reach) * sampling.cells_per_mm / sampling.params.subpixel


def kernel_too_small(lost: float, params: BankParams, larger: str) -> LensError:
    """The error for a share of light outside a kernel; `larger`: what the user can do about it."""
    return LensError(
        "the blur does not fit its kernel",
        got=f"{lost:.2%} of a point's light outside bank.kernel_px = {params.kernel_px}",
        expected=f"at most {MAX_LOST_LIGHT:.1%}",
        todo=f"{larger}, narrow range.working_m or raise camera.f_number.",
    )


def kernel_side_px(reach_px: float, params: BankParams) -> int:
    """Side [px, odd] of kernels for light that lands up to so far from the middle."""
    return 2 * math.ceil(reach_px + GAUSSIAN_REACH / 2 * params.gaussian_px) + 1


def larger_kernel(camera: Camera, needed_px: int) -> str:
    """What to do about blur that needs kernels of this side."""
    if needed_px <= MOST_KERNEL_PX:
        return f"Set bank.kernel_px to {needed_px}"
    times = math.ceil(needed_px / MOST_KERNEL_PX)
    return f"Reduce the photos {times} times ({camera.reduced_entries(times)})"
