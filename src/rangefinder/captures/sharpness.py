"""How sharp captures are at each distance, and how much a lens should blur there."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from torch import Tensor

from rangefinder.camera import Camera
from rangefinder.captures.depth_edges import near_edges
from rangefinder.optics.geometry import blur_px

Float = NDArray[np.float32]
Double = NDArray[np.float64]

FINE_PX, COARSE_PX = 0.7, 2.5  # scales whose gradients are compared
WINDOW_PX = 32  # side of a place that is judged
EDGE_STEP, EDGE_BAND_PX = 0.05, 12
LEAST_CONTRAST = 0.02  # mean gradient of log light per px, at the coarse scale
LEAST_PLACES = 8  # places in a bin of distances
LEAST_FALL = 0.1  # relative fall from the sharpest bin that shows blur
CONTRAST_FLOOR = 0.02  # light added before the logarithm, so that black shows no noise


def sharpness_map(image: Tensor) -> tuple[Float, Float]:
    """Fine against coarse detail, place by place.

    Args:
        image: `[3, H, W]` linear light.

    Returns:
        Ratio of squared gradients at a fine and a coarse scale, `[H // 32, W // 32]`: high where
        the picture is sharp, whatever its contrast; and the coarse contrast there.
    """
    light = np.log(image.mean(dim=0).numpy() + CONTRAST_FLOOR)
    fine, coarse = (
        _places(ndimage.gaussian_gradient_magnitude(light, scale) ** 2)
        for scale in (FINE_PX, COARSE_PX)
    )
    ratio: Float = (fine / np.maximum(coarse, 1e-12)).astype(np.float32)
    return ratio, np.sqrt(coarse)


def _places(values: Float) -> Float:
    """Means over whole windows."""
    rows, cols = (size // WINDOW_PX for size in values.shape)
    cut = values[: rows * WINDOW_PX, : cols * WINDOW_PX]
    return np.asarray(cut.reshape(rows, WINDOW_PX, cols, WINDOW_PX).mean(axis=(1, 3)))


def sharp_places(image: Tensor, distance_m: float | Tensor) -> Iterator[tuple[float, float]]:
    """(distance [m], sharpness) of every textured place of known distance, away from steps."""
    ratio, contrast = sharpness_map(image)
    if isinstance(distance_m, Tensor):
        known = distance_m.numpy()
        usable = (known > 0) & ~near_edges(known, EDGE_STEP, EDGE_BAND_PX)
        share = _places(usable.astype(np.float32))
        places_m = _places(np.where(usable, known, 0).astype(np.float32)) / np.maximum(share, 1e-6)
    else:
        share, places_m = np.ones_like(ratio), np.full_like(ratio, distance_m)
    good = (share > 0.9) & (contrast > LEAST_CONTRAST)
    yield from zip(places_m[good].tolist(), ratio[good].tolist(), strict=True)


@dataclass(frozen=True)
class SharpnessCurve:
    """Sharpness against distance.

    Attributes:
        distance_m: `[B]` middle of each bin with enough places, near to far.
        sharpness: `[B]` median there.
        low: `[B]` lower quartile.
        high: `[B]` upper quartile.
    """

    distance_m: Double
    sharpness: Double
    low: Double
    high: Double

    @classmethod
    def of(cls, places: NDArray[np.float64], bins: int = 16) -> SharpnessCurve:
        """Bin places `[N, 2]` (distance [m], sharpness), equally wide in dioptres."""
        inverse = 1 / places[:, 0] if len(places) else np.empty(0)
        low, high = (float(inverse.min()), float(inverse.max())) if inverse.size else (0.0, 1.0)
        edges = np.linspace(low, high + 1e-9, bins + 1)
        index = np.searchsorted(edges, inverse, side="right") - 1
        found = []
        for bin_ in range(bins - 1, -1, -1):
            members = places[index == bin_] if len(places) else places
            if len(members) >= LEAST_PLACES:
                quartiles = np.quantile(members[:, 1], (0.5, 0.25, 0.75))
                found.append((1 / np.mean(1 / members[:, 0]), *quartiles))
        columns = np.array(found).reshape(-1, 4).T
        return cls(*columns)

    @property
    def focus_m(self) -> float | None:
        """Where the captures are sharpest, to half a bin; None with too few bins."""
        if self.distance_m.size < 3:
            return None
        return float(self.distance_m[np.argmax(self.sharpness)])

    @property
    def fall(self) -> tuple[float, float]:
        """Relative fall of sharpness from the focus to the near and to the far end."""
        if self.distance_m.size < 3:
            return 0.0, 0.0
        peak = self.sharpness.max()
        return float(1 - self.sharpness[0] / peak), float(1 - self.sharpness[-1] / peak)

    def verdict(self, camera: Camera) -> str:
        """What the curve says, in words."""
        focus_m = self.focus_m
        if focus_m is None:
            return "Too few textured places of known distance to see blur against distance."
        near, far = self.fall
        told = (
            f"Sharpest at {focus_m:.2f} m (the camera record says {camera.focus_distance_m:g} m); "
            f"sharpness falls by {near:.0%} to {self.distance_m[0]:.2f} m "
            f"and by {far:.0%} to {self.distance_m[-1]:.2f} m."
        )
        if max(near, far) < LEAST_FALL:
            return f"{told} Blur hardly carries distance here: open the aperture."
        return told


@dataclass(frozen=True)
class Coverage:
    """Which distances are there, in steps of blur.

    Attributes:
        missing: Gaps (nearer, farther) [m] over which blur changes more than it should.
        idle: Pairs of distances [m] between which blur hardly changes.
    """

    missing: tuple[tuple[float, float], ...]
    idle: tuple[tuple[float, float], ...]


STEP_PX = 1.5  # largest change of blur between neighbouring chart distances
IDLE_PX = 0.1  # smallest that adds something


def coverage(camera: Camera, distances_m: Double, working_m: tuple[float, float]) -> Coverage:
    """Compare distances of charts with the lens's blur.

    Args:
        camera: The camera.
        distances_m: `[N]` distances of charts.
        working_m: Nearest and farthest distance of the product.
    """
    stops = np.unique(np.round([*working_m, *distances_m], 4))
    stops = stops[(stops >= working_m[0]) & (stops <= working_m[1])]
    steps = np.diff(_signed_blur(camera, stops))
    pairs = list(zip(stops[:-1].tolist(), stops[1:].tolist(), strict=True))
    missing = tuple(pair for pair, step in zip(pairs, steps, strict=True) if step > STEP_PX)
    idle = tuple(pair for pair, step in zip(pairs, steps, strict=True) if step < IDLE_PX)
    return Coverage(missing, idle)


def wanted_distances(camera: Camera, gap: tuple[float, float]) -> list[float]:
    """Distances [m] that fill a gap in equal steps of blur."""
    first, last = (1 / distance for distance in gap)
    change = float(np.abs(np.diff(_signed_blur(camera, np.asarray(gap)))[0]))
    count = int(np.ceil(change / STEP_PX)) - 1
    return [1 / dpt for dpt in np.linspace(first, last, count + 2)[1:-1]]


def _signed_blur(camera: Camera, distances_m: Double) -> Double:
    """Blur, negative in front of the focus, so that crossing it is a change too."""
    return np.asarray(blur_px(camera, distances_m) * np.sign(distances_m - camera.focus_distance_m))
