"""What is measured: one definition of every score, for every model.

Scores are pooled over pixels, so each is made from sums: `pixel_sums` adds up one capture's pixels,
`scores` turns sums into numbers. Sums of captures, regions or scenes may be added before.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from rangefinder.errors import ModelError

Float = NDArray[np.float32]
Double = NDArray[np.float64]

LEVELS = (0.5, 0.8, 0.95)
SCORES = ("abs_rel", "mae_m", "rmse_m", "rmse_dpt", "delta1", "delta2", "delta3")
HIGHER_IS_BETTER = frozenset({"delta1", "delta2", "delta3"})
_DELTA_BASE = 1.25
_SQUARED = ("rmse_m", "rmse_dpt")  # scores that are roots of mean squares
SUMS = ("pixels", *SCORES, *(f"coverage_{level}" for level in LEVELS))


@dataclass(frozen=True)
class Ranging:
    """What one model says about one capture, on the pixels of the whole image.

    Attributes:
        distance_m: `[H, W]` distance [m]; NaN where the model has no answer.
        interval_m: For each level the near and far end `[H, W]` [m] of the central interval that
            should hold the truth with that probability. Levels 0.5, 0.8 and 0.95 are needed.
        sd_dpt: `[H, W]` standard deviation of inverse distance [dpt].
    """

    distance_m: Float
    interval_m: Mapping[float, tuple[Float, Float]]
    sd_dpt: Float

    @property
    def relative_sd(self) -> Float:
        """Expected relative error `[H, W]`: to first order sd(d) / d = d * sd(1 / d)."""
        return np.asarray(self.sd_dpt * self.distance_m, dtype=np.float32)


Model: TypeAlias = Callable[[int], Ranging]


def check_ranging(ranging: Ranging, shape: tuple[int, int], owner: str) -> None:
    """Refuse a prediction that cannot be scored.

    Args:
        ranging: The prediction.
        shape: Height and width of the capture [px].
        owner: Model and capture, for the message.

    Raises:
        ModelError: If an interval is missing or a map has another size than the capture.
    """
    missing = [level for level in LEVELS if level not in ranging.interval_m]
    if missing:
        raise ModelError(
            f"{owner} lacks central intervals",
            got=f"levels {sorted(ranging.interval_m)}",
            expected=f"levels {list(LEVELS)}",
        )
    maps = {"distance_m": ranging.distance_m, "sd_dpt": ranging.sd_dpt}
    for level in LEVELS:
        near, far = ranging.interval_m[level]
        maps |= {f"near end at {level}": near, f"far end at {level}": far}
    for name, values in maps.items():
        if values.shape != shape:
            raise ModelError(
                f"{owner}: {name} is not on the pixels of the capture",
                got=f"shape {tuple(values.shape)}",
                expected=f"shape {shape}",
            )


def check_answers(ranging: Ranging, pixels: NDArray[np.intp], owner: str) -> None:
    """Refuse a prediction without an answer where all models must have one.

    Args:
        ranging: The prediction.
        pixels: `[N]` flat places of the pixels that count.
        owner: Model and capture, for the message.

    Raises:
        ModelError: If a distance is not positive and finite, or an end or deviation is NaN.
    """
    distance, sd = ranging.distance_m.ravel()[pixels], ranging.sd_dpt.ravel()[pixels]
    bad = ~(np.isfinite(distance) & (distance > 0) & np.isfinite(sd) & (sd >= 0))
    for level in LEVELS:
        for end in ranging.interval_m[level]:
            bad |= np.isnan(end.ravel()[pixels])
    if bad.any():
        raise ModelError(
            f"{owner} has no usable answer at {int(bad.sum())} of {len(pixels)} scored pixels",
            expected="distance > 0, deviation >= 0 and no NaN all over the support",
            todo="Score on a support that every model covers.",
        )


def relative_error(truth_m: Float, distance_m: Float) -> Float:
    """Absolute error over truth, shape of the arguments."""
    return np.asarray(np.abs(distance_m - truth_m) / truth_m, dtype=np.float32)


def pixel_sums(
    truth_m: Float, ranging: Ranging, pixels: NDArray[np.intp], cell: NDArray[np.intp], cells: int
) -> Double:
    """Sums over pixels from which scores are made, apart for every cell of the frame.

    Args:
        truth_m: `[N]` true distance of the scored pixels [m].
        ranging: The model's prediction, maps `[H, W]`.
        pixels: `[N]` flat places of the scored pixels in the maps.
        cell: `[N]` cell of each pixel, 0 to `cells` - 1.
        cells: Number of cells.

    Returns:
        `[cells, len(SUMS)]`; NaN in cells where the model has no answer for some pixel.
    """
    distance = ranging.distance_m.ravel()[pixels]
    error = distance - truth_m
    ratio = np.maximum(distance / truth_m, truth_m / distance)
    values: list[NDArray[np.generic]] = [
        relative_error(truth_m, distance),
        np.abs(error),
        np.square(error),
        np.square(1.0 / distance - 1.0 / truth_m),
        *(ratio < _DELTA_BASE**power for power in (1, 2, 3)),
    ]
    for level in LEVELS:
        near, far = (end.ravel()[pixels] for end in ranging.interval_m[level])
        values.append((near <= truth_m) & (truth_m <= far))
    sums: list[Double] = [np.bincount(cell, minlength=cells).astype(np.float64)]
    for value in values:
        weights = value.astype(np.float64)
        sums.append(np.bincount(cell, weights=weights, minlength=cells).astype(np.float64))
    table = np.stack(sums, axis=-1)
    table[~np.isfinite(table).all(axis=-1)] = np.nan
    return table


def score_array(sums: Double) -> Double:
    """Scores and coverages of pooled pixels.

    Args:
        sums: `[..., len(SUMS)]` as from `pixel_sums`, or sums of those.

    Returns:
        `[..., len(SUMS) - 1]` in the order of `SUMS[1:]`; NaN where there are no pixels.
    """
    pixels = sums[..., :1]
    with np.errstate(invalid="ignore", divide="ignore"):
        means = np.where(pixels > 0, sums[..., 1:] / pixels, np.nan)
    for name in _SQUARED:
        means[..., SCORES.index(name)] = np.sqrt(means[..., SCORES.index(name)])
    return np.asarray(means)


def scores(sums: Double) -> dict[str, float | None]:
    """The seven scores of pooled pixels; None where there are none.

    Args:
        sums: `[len(SUMS)]`.

    Returns:
        AbsRel, MAE [m], RMSE [m], RMSE [dpt] and the shares of pixels whose ratio to the truth is
        within 1.25, 1.25^2 and 1.25^3.
    """
    return dict(zip(SCORES, map(json_number, score_array(sums)), strict=False))


def coverage(sums: Double) -> dict[str, float | None]:
    """Share of pixels whose truth lies within the central interval of each level."""
    shares = score_array(sums)[len(SCORES) :]
    return {str(level): json_number(share) for level, share in zip(LEVELS, shares, strict=True)}


def json_number(value: float) -> float | None:
    """A plain float, or None for NaN and infinity, which JSON does not know."""
    return float(value) if np.isfinite(value) else None
