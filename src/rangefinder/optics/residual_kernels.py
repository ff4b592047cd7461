"""What kernels of photos have that a lens's model has not, in coordinates that grow with blur."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from rangefinder.optics.lens_model import Points

Float = NDArray[np.float64]
CELLS = 21  # of a residual kernel along a side
REACH = 1.5  # of a residual kernel from its middle [blur radii]
LEAST_RADIUS_PX = 2.0  # of blur: below, coordinates no longer shrink with it
ZONES = 3  # of the field, of equal width in radius
SIDES = 2  # nearer than the focus, and farther


def scale_px(blur_px: Float) -> Float:
    """Pixels of a unit of residual coordinates, for signed blur diameters [px]."""
    return np.maximum(np.abs(blur_px) / 2, LEAST_RADIUS_PX)


def fade(blur_px: Float) -> Float:
    """Share of a residual that is used: 1 beyond the least blur, 0 in focus."""
    return np.minimum(np.abs(blur_px) / 2 / LEAST_RADIUS_PX, 1.0)


def side_and_zone(
    blur_px: Float, radius: Float
) -> tuple[NDArray[np.int64], NDArray[np.int64], Float]:
    """Side of the focus, zone before a field radius, and weight of the zone after it, `[N]` each.

    Zones lie around the middles of equal parts of the radius.
    """
    place = np.clip(radius * ZONES - 0.5, 0.0, ZONES - 1)
    before = np.minimum(place.astype(np.int64), ZONES - 2)
    return (blur_px > 0).astype(np.int64), before, place - before


def sample(kernels: Float, step_px: Float, angle: Float, side: int) -> Float:
    """Square arrays `[N, a, a]` on other grids `[N, side, side]`, by linear interpolation.

    Args:
        kernels: Of any unit per cell.
        step_px: `[N]` cells of `kernels` per cell of the result.
        angle: `[N]` by which the result's x axis is turned in `kernels`, from x to y [rad].
        side: Cells of the result.
    """
    result = np.empty((len(kernels), side, side))
    y, x = np.mgrid[:side, :side] - (side - 1) / 2.0
    middle = (kernels.shape[-1] - 1) / 2.0
    for i, kernel in enumerate(kernels):
        c, s = np.cos(angle[i]) * step_px[i], np.sin(angle[i]) * step_px[i]
        at = [s * x + c * y + middle, c * x - s * y + middle]
        result[i] = ndimage.map_coordinates(kernel, at, order=1, mode="constant")
    return result


@dataclass(frozen=True)
class ResidualKernels:
    """Densities of light to add to a model's kernels.

    Attributes:
        density: `[SIDES, ZONES, 3, CELLS, CELLS]` per unit area of residual coordinates, whose x
            axis points away from the optical centre; side 0 is farther than the focus.
    """

    density: Float

    def added(self, kernels: Float, blur_px: Float, points: Points) -> Float:
        """Kernels `[N, k, k]` with the residual: no light below 0, their sum as before."""
        side, zone, after = side_and_zone(blur_px, points.radius)
        weight = after[:, None, None]
        first, second = (self.density[side, zone + i, points.colour] for i in (0, 1))
        density = first * (1 - weight) + second * weight
        unit = scale_px(blur_px)
        cell_px = 2 * REACH * unit / CELLS  # of a residual cell
        sampled = sample(density, 1 / cell_px, -points.angle, kernels.shape[-1])
        change = sampled * (fade(blur_px) / unit**2)[:, None, None]
        result = np.maximum(kernels + change, 0.0)
        total = np.maximum(result.sum(axis=(1, 2), keepdims=True), 1e-12)
        return np.asarray(result * (kernels.sum(axis=(1, 2), keepdims=True) / total))
