"""The ranges before and behind the focus between which posteriors are undecided."""

from __future__ import annotations

from collections.abc import Collection

import numpy as np
from numpy.typing import NDArray

from rangefinder.config import PredictionParams
from rangefinder.inference.interface import REPORTED_LEVEL
from rangefinder.models.card import Card
from rangefinder.models.prediction import Float
from rangefinder.photo_domain import Shift

AT_ONCE = 2**16  # pixels whose posteriors are in memory


def two_ranges_m(probs: NDArray[np.floating], card: Card, shifts: Collection[Shift] = ()) -> Float:
    """Near and far end [m] `[..., 2, 2]` of both ranges; NaN where a posterior is not divided.

    Args:
        probs: `[..., bins]` predicted probabilities, before posterior tilting.
        card: Of the model.
        shifts: Domain shifts of the photo.
    """
    tilt_power = card.calibration.tilt_power if card.calibration else 0.0
    tilted = probs * bin_centres_dpt(card.prediction) ** tilt_power
    mass = 1 - 2 * card.tail(REPORTED_LEVEL, shifts)
    flat = tilted.reshape(-1, tilted.shape[-1])
    ranges = two_ranges_dpt(flat, card.prediction, 1 / card.camera.focus_distance_m, mass)
    return (1 / ranges[..., ::-1]).reshape(*probs.shape[:-1], 2, 2).astype(np.float32)


def bin_centres_dpt(params: PredictionParams) -> NDArray[np.float64]:
    """Centres of the bins `[bins]` [dpt]."""
    return np.linspace(*params.inverse_range_dpt, params.bins)


def two_ranges_dpt(
    probs: NDArray[np.floating], params: PredictionParams, focus_dpt: float, mass: float
) -> NDArray[np.float64]:
    """The ranges in dioptres.

    They are the parts of the highest-density region (Hyndman, Computing and Graphing Highest
    Density Regions, 1996) on either side of the focus, where that leaves the focus out and both
    ends of the central interval are on different sides.

    Args:
        probs: `[N, bins]` distributions, each up to a factor.
        params: Their bins.
        focus_dpt: Inverse focus distance [dpt].
        mass: Probability within the region, and within the central interval.

    Returns:
        `[N, 2, 2]` low and high end [dpt], which are edges of bins, before the focus and behind it;
        NaN where a distribution is not divided.
    """
    ranges = np.full((len(probs), 2, 2), np.nan)
    probs = probs / probs.sum(-1, keepdims=True, dtype=np.float64)
    centres = bin_centres_dpt(params)
    width = centres[1] - centres[0]
    edges = centres[0] + (np.arange(params.bins + 1) - 0.5) * width
    before = np.clip((edges[1:] - focus_dpt) / width, 0, 1)  # share of each bin
    behind = probs @ (1 - before)
    crossed = np.flatnonzero((behind > (1 - mass) / 2) & (behind < (1 + mass) / 2))
    order = np.argsort(-probs[crossed], axis=-1, kind="stable")
    densest = np.take_along_axis(probs[crossed], order, axis=-1)
    needed = (densest.cumsum(-1) < mass).sum(-1, keepdims=True)
    region = order.argsort(-1) <= needed
    sides = np.stack([region & (before > 0), region & (before < 1)], axis=1)
    index = np.arange(params.bins)  # a bin that holds the focus is on both sides
    first = np.where(sides, index, params.bins).min(-1)
    last = np.where(sides, index, -1).max(-1)
    ends = edges[np.stack([first, last + 1], axis=-1)]
    divided = (ends[:, 1, 1] < focus_dpt) & (focus_dpt < ends[:, 0, 0])
    divided &= (first <= last).all(-1)
    ranges[crossed[divided]] = ends[divided]
    return ranges
