"""How far each model stays behind what the lens allows on strongly textured areas."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rangefinder.evaluation.metrics import SUMS, Double, json_number
from rangefinder.evaluation.regions import TEXTURES, Regions

Float = NDArray[np.float64]
MEAN_OVER_SD = math.sqrt(2.0 / math.pi)  # mean absolute over standard deviation, normal errors


def over_bound(
    sums: Mapping[str, Double], regions: Regions, distances_m: Float, sd_m: Float
) -> dict[str, Any]:
    """Mean absolute error over that of the best unbiased estimate, per distance bin.

    Only strongly textured pixels count. Models may fall below 1: they see more than one patch and
    know what distances are likely.

    Args:
        sums: Per model `[captures, texture, position, edge, distance, frame, len(SUMS)]`.
        regions: The cells' meaning.
        distances_m: `[D]` where the bound is known [m].
        sd_m: `[D]` the Cramer-Rao bound [m].

    Returns:
        `bound_m` (mean absolute error [m] at the bound) per bin, and `models`: name -> bin ->
        ratio; None where there are no pixels or the bound is not known.
    """
    bounds = [
        MEAN_OVER_SD * value
        for value in bin_means(distances_m, sd_m, regions.params.evaluation.distance_edges_m)
    ]
    names = regions.distance_names
    return {
        "bound_m": {name: json_number(value) for name, value in zip(names, bounds, strict=True)},
        "models": {
            model: dict(zip(names, map(json_number, _mae_m(table) / bounds), strict=True))
            for model, table in sums.items()
        },
    }


def bin_means(distances_m: Float, values: Float, edges_m: Sequence[float]) -> list[float]:
    """Mean of values, interpolated over the logarithm of distance, in each bin; NaN outside."""
    order = np.argsort(distances_m)
    known, values = np.log(distances_m[order]), values[order]
    means = []
    for near, far in pairwise(edges_m):
        place = np.linspace(math.log(near), math.log(far), 33)
        means.append(float(np.interp(place, known, values, np.nan, np.nan).mean()))
    return means


def _mae_m(table: Double) -> Double:
    """Mean absolute error [m] of strongly textured pixels in each distance bin."""
    strong = table[:, TEXTURES.index("strong"), :, :, :-1, 0, :].sum(axis=(0, 1, 2))
    pixels = strong[:, 0]
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(pixels > 0, strong[:, SUMS.index("mae_m")] / pixels, np.nan)
