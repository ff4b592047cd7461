"""Two distances: the modes of a predictive distribution, and a region of highest density in both.

In numpy, so that exported models are read without torch. Distributions are `[N, bins]`, each up to
a factor; the centres of bins are evenly spaced in dioptres.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from rangefinder.models.prediction import TwoDistances

VALLEY = 0.25  # of the lower peak's density: what a valley between two modes stays below
LEAST_SHARE = 0.1  # probability of either mode
_LEAST = 1e-12  # probability
_STEPS = 200  # of the masses of regions that are tried
Probs = NDArray[np.floating]
Double = NDArray[np.float64]


@dataclass(frozen=True)
class Modes:
    """The two most persistent modes of distributions, and the deepest valley, which parts them.

    The depth of a valley, from the lower of the peaks on either side, is the persistence of the
    second mode (Edelsbrunner, Letscher and Zomorodian, Topological Persistence and Simplification,
    2002): small changes of the density change it little.

    Attributes:
        valley: `[N]` its bin.
        valley_density: `[N]` probability of that bin.
        peak_density: `[N]` probability of the lower peak's bin.
        found: `[N]` whether there are two modes: the valley is below `VALLEY` of the lower peak,
            and a probability of `LEAST_SHARE` or more is on either side.
    """

    valley: NDArray[np.intp]
    valley_density: Probs
    peak_density: Probs
    found: NDArray[np.bool_]

    @classmethod
    def of(cls, probs: Probs) -> Modes:
        """Those of distributions `[N, bins]`."""
        from_left = np.maximum.accumulate(probs, axis=-1)
        from_right = np.maximum.accumulate(probs[:, ::-1], axis=-1)[:, ::-1]
        lower_peak = np.minimum(from_left, from_right)
        valley, each = (lower_peak - probs).argmax(-1), np.arange(len(probs))
        low, high = probs[each, valley], lower_peak[each, valley]
        found = low < VALLEY * high
        deep = np.flatnonzero(found)
        below = probs[deep].cumsum(-1, dtype=np.float64)
        share = below[np.arange(len(deep)), valley[deep]] / below[:, -1]
        found[deep] = (share >= LEAST_SHARE) & (share <= 1 - LEAST_SHARE)
        return cls(valley, low, high, found)


def density_at(probs: Probs, inverse_distance_dpt: Double, centres_dpt: Double) -> Probs:
    """Probability `[N]` of the bins that hold inverse distances `[N]` [dpt]; -1 beyond the bins."""
    edges = bin_edges_dpt(centres_dpt)
    place = np.searchsorted(edges, inverse_distance_dpt, side="right") - 1
    known = (place >= 0) & (place < len(centres_dpt))
    own = probs[np.arange(len(probs)), place.clip(0, len(centres_dpt) - 1)]
    return np.where(known, own, -1)


def denser_mass(probs: Probs, density: Probs) -> Double:
    """Probability `[N]` of the bins that are denser than `density` `[N]`, of `[N, bins]`.

    A highest-density region has the bin of that density if its mass is larger.
    """
    denser = np.where(probs > density[:, None], probs, 0).sum(-1, dtype=np.float64)
    return np.asarray(denser / probs.sum(-1, dtype=np.float64))


def held_by_mass(probs: Probs, truth_dpt: Double, centres_dpt: Double) -> tuple[Double, Double]:
    """How often a region that is divided into two intervals holds the truth, by its mass.

    Args:
        probs: `[N, bins]` distributions with two modes.
        truth_dpt: `[N]` true inverse distance [dpt].
        centres_dpt: `[bins]` [dpt].

    Returns:
        Masses `[K]`, ascending, at which any region is divided, and the share `[K]` of truths
        within these.
    """
    modes = Modes.of(probs)
    needed = denser_mass(probs, density_at(probs, truth_dpt, centres_dpt))
    least, most = (denser_mass(probs, at) for at in (modes.peak_density, modes.valley_density))
    found = []
    for mass in np.unique(np.quantile(needed, np.linspace(0, 1, _STEPS + 1))):
        divided = (least < mass) & (mass <= most)
        if divided.any():
            found.append((mass, (needed[divided] < mass).mean()))
    masses, shares = np.array(found).reshape(-1, 2).T
    return masses, shares


def two_distances(probs: Probs, centres_dpt: Double, mass: float) -> TwoDistances:
    """Both distances of distributions with two modes.

    The highest-density region (Hyndman, Computing and Graphing Highest Density Regions, 1996) is
    the shortest that has a probability. Its parts in both modes are the two intervals, where it
    leaves out the valley between.

    Args:
        probs: `[N, bins]` distributions.
        centres_dpt: `[bins]` [dpt].
        mass: Probability within the region.

    Returns:
        `[N, 2]`, the nearer distance first; NaN where a distribution is not divided. Each distance
        is the Bayes estimate for the relative error within its interval, whose ends are edges of
        bins; the shares are those of the probability within both.
    """
    modes = Modes.of(probs)
    chosen = np.flatnonzero(modes.found)
    densities = probs[chosen].astype(np.float64)
    densities /= densities.sum(-1, keepdims=True)
    densest = -np.sort(-densities, axis=-1)
    needed = (densest.cumsum(-1) < mass).sum(-1, keepdims=True).clip(max=probs.shape[-1] - 1)
    region = densities >= np.take_along_axis(densest, needed, axis=-1)
    index, middle = np.arange(probs.shape[-1]), modes.valley[chosen, None]
    sides = np.stack([region & (index > middle), region & (index < middle)], axis=1)
    divided = sides.any(-1).all(-1) & ~np.take_along_axis(region, middle, axis=-1)[:, 0]
    chosen, densities, sides = chosen[divided], densities[divided], sides[divided]
    first, last = sides.argmax(-1), index[-1] - sides[..., ::-1].argmax(-1)
    within = (index >= first[..., None]) & (index <= last[..., None])
    parts = np.where(within, densities[:, None], 0.0)
    shares, edges = parts.sum(-1), bin_edges_dpt(centres_dpt)
    ends = (
        1 / _weighted_median(parts * centres_dpt, edges),
        shares / shares.sum(-1, keepdims=True),
        1 / edges[last + 1],
        1 / edges[first],
    )
    maps = [np.full((len(probs), 2), np.nan, dtype=np.float32) for _ in ends]
    for values, end in zip(maps, ends, strict=True):
        values[chosen] = end
    return TwoDistances(*maps)


def bin_edges_dpt(centres_dpt: Double) -> Double:
    """Edges `[bins + 1]` [dpt] of bins with centres `[bins]` [dpt]."""
    width = centres_dpt[1] - centres_dpt[0]
    return np.append(centres_dpt - width / 2, centres_dpt[-1] + width / 2)


def _weighted_median(weights: Double, edges: Double) -> Double:
    """Medians `[...]` of masses `[..., bins]`, uniform within bins."""
    cdf = weights.cumsum(-1)
    half = cdf[..., -1:] / 2
    place = (cdf < half).sum(-1, keepdims=True)
    upper, mass = (np.take_along_axis(values, place, axis=-1) for values in (cdf, weights))
    inside = 1 - (upper - half) / np.maximum(mass, _LEAST)
    low, high = edges[place], edges[place + 1]
    return np.asarray((low + inside * (high - low))[..., 0])
