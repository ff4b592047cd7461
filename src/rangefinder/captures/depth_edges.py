"""Where distance jumps: at the outlines of things."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage


def near_edges(distance_m: NDArray[np.float32], step: float, band_px: float) -> NDArray[np.bool_]:
    """Pixels close to a jump in distance.

    A jump lies between neighbours whose distances differ by more than `step` of the nearer one.
    Unknown pixels take the distance of the nearest known one, so a jump across a gap counts, in
    the middle of the gap.

    Args:
        distance_m: `[H, W]` [m]; 0, negative or NaN where unknown.
        step: Relative difference that is a jump.
        band_px: Largest distance to a pixel beside a jump [px].

    Returns:
        `[H, W]` mask.
    """
    known = distance_m > 0
    if not known.any():
        return np.zeros_like(known)
    if not known.all():
        place = ndimage.distance_transform_edt(~known, return_distances=False, return_indices=True)
        distance_m = distance_m[tuple(place)]
    edge = np.zeros_like(known)
    for axis in (0, 1):
        first, second = np.moveaxis(distance_m, axis, 0), np.moveaxis(edge, axis, 0)
        jump = np.maximum(first[1:], first[:-1]) > (1.0 + step) * np.minimum(first[1:], first[:-1])
        second[1:] |= jump
        second[:-1] |= jump
    if not edge.any():
        return edge
    return np.asarray(ndimage.distance_transform_edt(~edge) <= band_px)
