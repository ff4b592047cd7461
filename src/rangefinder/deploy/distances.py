"""Which distances to photograph charts at: evenly spaced in dioptres, as blur is."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from rangefinder.camera import Camera
from rangefinder.captures.sharpness import STEP_PX
from rangefinder.captures.sheets import MARGIN, SIZES_MM, UNITS
from rangefinder.config import Interval
from rangefinder.optics.geometry import blur_px, pixel_m

FEWEST, MOST = 8, 60


@dataclass(frozen=True)
class Stop:
    """One distance to take photos at.

    Attributes:
        distance_m: From the camera record's reference [m].
        blur_px: Diameter of the blur disc there [px].
        sharp_mm: What one pixel sees [mm]: print must be finer.
        across: Sheets side by side that fill the width of the photo.
        down: Sheets above each other that fill its height.
    """

    distance_m: float
    blur_px: float
    sharp_mm: float
    across: int
    down: int

    @property
    def poses(self) -> int:
        """Photos of one sheet that cover the whole field."""
        return self.across * self.down


def stops(camera: Camera, range_m: Interval, size: str, count: int | None = None) -> list[Stop]:
    """Distances over a range.

    Args:
        camera: The camera.
        range_m: Nearest and farthest distance [m].
        size: Size of the sheets, a key of `SIZES_MM`.
        count: How many; None: as many as keep the change of blur below `STEP_PX`.
    """
    if count is None:
        fine = 1 / np.linspace(1 / range_m[0], 1 / range_m[1], 500)
        change = np.abs(np.diff(blur_px(camera, fine))).sum()
        count = min(max(math.ceil(change / STEP_PX) + 1, FEWEST), MOST)
    distances = 1 / np.linspace(1 / range_m[0], 1 / range_m[1], count)
    texture_m = (np.array(UNITS) - 2 * MARGIN) / UNITS[1] * SIZES_MM[size][1] / 1000
    result = []
    for distance in distances:
        seen_m = float(pixel_m(camera, float(distance)))
        across, down = (
            max(1, math.ceil(side * seen_m / length))
            for side, length in zip((camera.width_px, camera.height_px), texture_m, strict=True)
        )
        blur = float(blur_px(camera, float(distance)))
        result.append(Stop(float(distance), blur, seen_m * 1000, across, down))
    return result


def as_table(plan: list[Stop], camera: Camera, size: str) -> str:
    """Distances as text for the wall beside the tape."""
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
