"""Distances to photograph charts at: equally spaced in dioptres, as blur is."""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from rangefinder.camera import Camera
from rangefinder.charts.sheets import MARGIN, SIZES_MM, UNITS
from rangefinder.common.lengths import length, length_unit
from rangefinder.config import Interval
from rangefinder.optics.blur import blur_px, pixel_m, reduction_advice, reduction_times

STEP_PX = 1.5  # largest change of blur between neighbouring chart distances
IDLE_PX = 0.1  # smallest that adds something
MIN_DISTANCES, MAX_DISTANCES = 8, 60
MOST_POSES = 36  # that cover the picture; where it takes more, the places below do
FEW_POSES = 9  # centre, edges and corners
PRINTER_DPI = 1200  # finest print


@dataclass(frozen=True)
class Coverage:
    """Coverage of a range by chart distances, in steps of blur.

    Attributes:
        missing: Gaps (nearer, farther) [m] over which blur changes by more than a step.
        idle: Pairs of distances [m] between which it changes by less than `IDLE_PX`.
    """

    missing: tuple[Interval, ...]
    idle: tuple[Interval, ...]


def coverage(
    camera: Camera, distances_m: NDArray[np.float64], working_m: Interval, step_px: float = STEP_PX
) -> Coverage:
    """Coverage of the range `working_m` [m] by charts at `distances_m` `[N]`, in steps of blur."""
    ends = np.unique(np.round([*working_m, *distances_m], 5))
    ends = ends[(ends >= working_m[0]) & (ends <= working_m[1])]
    steps = np.diff(_signed_blur(camera, ends))
    pairs = list(itertools.pairwise(ends.tolist()))
    missing = tuple(pair for pair, step in zip(pairs, steps, strict=True) if step > step_px)
    idle = tuple(pair for pair, step in zip(pairs, steps, strict=True) if step < IDLE_PX)
    return Coverage(missing, idle)


def wanted_distances(camera: Camera, gap: Interval, step_px: float = STEP_PX) -> list[float]:
    """Distances [m] that fill a gap in equal steps of blur."""
    first, last = (1 / distance for distance in gap)
    change = float(np.abs(np.diff(_signed_blur(camera, np.asarray(gap)))[0]))
    count = int(np.ceil(change / step_px)) - 1
    return [1 / dpt for dpt in np.linspace(first, last, count + 2)[1:-1]]


def _signed_blur(camera: Camera, distances_m: NDArray[np.float64]) -> NDArray[np.float64]:
    """Blur diameter [px], negative nearer than the focus."""
    return np.asarray(blur_px(camera, distances_m) * np.sign(distances_m - camera.focus_distance_m))


@dataclass(frozen=True)
class ChartDistance:
    """One distance to take photos at."""

    distance_m: float  # from the camera record's reference [m]
    blur_px: float  # diameter of the blur disc there [px]
    sharp_mm: float  # side of a pixel on the sheet [mm]: print must be finer
    across: int  # sheets side by side that fill the width of the photo
    down: int  # sheets above each other that fill its height
    texture_px: float  # shorter side of a sheet's texture in the photo [px]

    @property
    def covering(self) -> bool:
        """Whether a sheet is moved over the whole picture, not to a few places of it."""
        return self.across * self.down <= MOST_POSES

    @property
    def poses(self) -> int:
        """Photos of one sheet to take."""
        return self.across * self.down if self.covering else FEW_POSES


def plan_distances(
    camera: Camera, range_m: Interval, size: str, count: int | None = None
) -> list[ChartDistance]:
    """Distances over a range [m], equally spaced in dioptres, for sheets of `size`.

    Without `count` there are as many as keep the change of blur below `STEP_PX`.
    """
    if count is None:
        fine = 1 / np.linspace(1 / range_m[0], 1 / range_m[1], 500)
        change = np.abs(np.diff(blur_px(camera, fine))).sum()
        count = min(max(math.ceil(change / STEP_PX) + 1, MIN_DISTANCES), MAX_DISTANCES)
    distances = 1 / np.linspace(1 / range_m[0], 1 / range_m[1], count)
    texture_m = (np.array(UNITS) - 2 * MARGIN) / UNITS[1] * SIZES_MM[size][1] / 1000
    result = []
    for distance in distances:
        side_m, blur = (float(f(camera, float(distance))) for f in (pixel_m, blur_px))
        across, down = (
            max(1, math.ceil(side * side_m / length))
            for side, length in zip((camera.width_px, camera.height_px), texture_m, strict=True)
        )
        texture_px = float(texture_m.min()) / side_m
        stop = ChartDistance(float(distance), blur, side_m * 1000, across, down, texture_px)
        result.append(stop)
    return result


def distance_table(plan: list[ChartDistance], camera: Camera, size: str, patch_px: int) -> str:
    """Distances as text, to print, and what cannot be done with sheets of `size`.

    Args:
        plan: The distances.
        camera: The camera record.
        size: Of the sheets.
        patch_px: Side of the teacher's patch [px], which a sheet's texture must fill.
    """
    unit = length_unit((plan[0].distance_m, plan[-1].distance_m))
    far = [stop for stop in plan if stop.texture_px < patch_px]
    near = [stop for stop in plan if stop.texture_px >= patch_px]
    lines = [
        f"Camera {camera.name}: {camera.focal_length_mm:g} mm f/{camera.f_number:g}, focus "
        f"{camera.focus_distance_m:g} m; distances from the {camera.distance_reference}",
        f"distance [{unit.name}]  dioptres  blur [px]  pixel [mm]  {size} poses (across x down)",
    ]
    for stop in plan:
        poses = f"{stop.poses:3d} ({stop.across} x {stop.down})" if stop in near else "  -"
        if stop in near and not stop.covering:
            poses = f"{stop.poses:3d} of {stop.across} x {stop.down}"
        width = 11 + len(unit.name)
        lines.append(
            f"{stop.distance_m * unit.per_m:{width}.3f}  {1 / stop.distance_m:8.3f}"
            f"  {stop.blur_px:9.1f}  {_two_digits(stop.sharp_mm):>10}  {poses}"
        )
    total = sum(stop.poses for stop in near)
    dpi = math.ceil(25.4 / min(stop.sharp_mm for stop in plan))
    counted = f"{len(near)} distances, {total} photos of each sheet."
    ends_m = plan[0].distance_m, plan[-1].distance_m
    times = max(math.ceil(dpi / PRINTER_DPI), reduction_times(camera, patch_px, ends_m))
    if dpi <= PRINTER_DPI:
        lines.append(
            f"{counted} Print at {dpi} dpi or more: dots must not be coarser than a pixel sees."
        )
    else:
        lines.append(
            f"{counted} No printer prints at the {dpi} dpi that a pixel sees: reduce the photos "
            f"{times} times ({camera.reduced_entries(times)}), or take flat things with finer "
            "texture, as stone or cloth, in the place of sheets."
        )
    lines += reduction_advice(camera, patch_px, ends_m, times)
    return "\n".join(lines + _what_to_do(near, far, size, patch_px))


def _two_digits(length_mm: float) -> str:
    """A length as 1.86, or 0.0093 where it is small."""
    return f"{length_mm:.2f}" if length_mm >= 0.1 else f"{length_mm:.2g}"


def _what_to_do(
    near: list[ChartDistance], far: list[ChartDistance], size: str, patch_px: int
) -> list[str]:
    """Sentences on distances at which sheets do not cover the picture, or are too small."""
    lines = []
    few = [stop for stop in near if not stop.covering]
    if few:
        most = max(stop.across * stop.down for stop in few)
        lines.append(
            f"From {length(few[0].distance_m)} on it takes up to {most:,} photos of a sheet to "
            f"cover the picture: take {FEW_POSES} there, in its centre, edges and corners."
        )
    if far:
        larger = [other for other in SIZES_MM if SIZES_MM[other] > SIZES_MM[size]]
        print_ = f"print {larger[-1]}, or " if larger else ""
        lines.append(
            f"From {length(far[0].distance_m)} on the texture of {size} is smaller than a patch "
            f"({far[0].texture_px:.0f} of {patch_px} px): {print_}photograph flat, textured walls "
            "that fill the picture, at measured distances."
        )
    return lines
