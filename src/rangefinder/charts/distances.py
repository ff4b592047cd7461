"""Distances to photograph charts at: equally spaced in dioptres, as blur is."""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from rangefinder.camera import Camera
from rangefinder.charts.sheets import MARGIN, SIZES_MM, UNITS
from rangefinder.config import Interval
from rangefinder.optics.blur import blur_px, pixel_m

STEP_PX = 1.5  # largest change of blur between neighbouring chart distances
IDLE_PX = 0.1  # smallest that adds something
MIN_DISTANCES, MAX_DISTANCES = 8, 60


@dataclass(frozen=True)
class Coverage:
    """Coverage of a range by chart distances, in steps of blur.

    Attributes:
        missing: Gaps (nearer, farther) [m] over which blur changes by more than `STEP_PX`.
        idle: Pairs of distances [m] between which it changes by less than `IDLE_PX`.
    """

    missing: tuple[Interval, ...]
    idle: tuple[Interval, ...]


def coverage(camera: Camera, distances_m: NDArray[np.float64], working_m: Interval) -> Coverage:
    """Coverage of the range `working_m` [m] by charts at `distances_m` `[N]`."""
    ends = np.unique(np.round([*working_m, *distances_m], 4))
    ends = ends[(ends >= working_m[0]) & (ends <= working_m[1])]
    steps = np.diff(_signed_blur(camera, ends))
    pairs = list(itertools.pairwise(ends.tolist()))
    missing = tuple(pair for pair, step in zip(pairs, steps, strict=True) if step > STEP_PX)
    idle = tuple(pair for pair, step in zip(pairs, steps, strict=True) if step < IDLE_PX)
    return Coverage(missing, idle)


def wanted_distances(camera: Camera, gap: Interval) -> list[float]:
    """Distances [m] that fill a gap in equal steps of blur."""
    first, last = (1 / distance for distance in gap)
    change = float(np.abs(np.diff(_signed_blur(camera, np.asarray(gap)))[0]))
    count = int(np.ceil(change / STEP_PX)) - 1
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

    @property
    def poses(self) -> int:
        """Photos of one sheet that cover the whole field."""
        return self.across * self.down


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
        result.append(ChartDistance(float(distance), blur, side_m * 1000, across, down))
    return result


def distance_table(plan: list[ChartDistance], camera: Camera, size: str) -> str:
    """Distances as text, to print."""
    lines = [
        f"Camera {camera.name}: {camera.focal_length_mm:g} mm f/{camera.f_number:g}, focus "
        f"{camera.focus_distance_m:g} m; distances from the {camera.distance_reference}",
        f"distance [m]  dioptres  blur [px]  pixel [mm]  {size} poses (across x down)",
    ]
    lines += [
        f"{stop.distance_m:12.3f}  {1 / stop.distance_m:8.3f}  {stop.blur_px:9.1f}"
        f"  {stop.sharp_mm:10.2f}  {stop.poses:3d} ({stop.across} x {stop.down})"
        for stop in plan
    ]
    total = sum(stop.poses for stop in plan)
    dpi = math.ceil(25.4 / min(stop.sharp_mm for stop in plan))
    lines.append(
        f"{len(plan)} distances, {total} photos of each sheet. Print at {dpi} dpi or more: dots "
        "must not be coarser than a pixel sees."
    )
    return "\n".join(lines)
