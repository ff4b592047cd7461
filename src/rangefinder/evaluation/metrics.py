"""Scores: one definition of each, for every model.

Scores are pooled over pixels, so each is computed from sums: `pixel_sums` adds up one capture's
pixels, `scores` turns sums into numbers. Sums of captures, regions or scenes may be added before.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from rangefinder.errors import ModelError
from rangefinder.models.prediction import INTERVAL_LEVELS, Prediction

Float = NDArray[np.float32]
Double = NDArray[np.float64]

SCORES = ("abs_rel", "mae_m", "rmse_m", "rmse_dpt", "delta1", "delta2", "delta3")
HIGHER_IS_BETTER = frozenset({"delta1", "delta2", "delta3"})
_DELTA_BASE = 1.25
_SQUARED = ("rmse_m", "rmse_dpt")  # scores that are roots of mean squares
SUMS = ("pixels", *SCORES, *(f"coverage_{level}" for level in INTERVAL_LEVELS))
Model: TypeAlias = Callable[[int], Prediction]  # of a capture's index


def check_prediction(prediction: Prediction, shape: tuple[int, int], owner: str) -> None:
    """Raise `ModelError` if an interval or deviation is missing, or a map is not of `shape`."""
    missing = [level for level in INTERVAL_LEVELS if level not in prediction.interval_m]
    if missing:
        raise ModelError(
            f"{owner} lacks central intervals",
            got=f"levels {sorted(prediction.interval_m)}",
            expected=f"levels {list(INTERVAL_LEVELS)}",
        )
    if prediction.sd_dpt is None:
        raise ModelError(f"{owner} lacks the standard deviation of inverse distance")
    maps = {"distance_m": prediction.distance_m, "sd_dpt": prediction.sd_dpt}
    for level in INTERVAL_LEVELS:
        near, far = prediction.interval_m[level]
        maps |= {f"near end at {level}": near, f"far end at {level}": far}
    if prediction.sides is not None:
        maps |= vars(prediction.sides)
    if prediction.two_distances is not None:
        maps |= {name: both[..., 0] for name, both in vars(prediction.two_distances).items()}
    for name, values in maps.items():
        if values.shape != shape:
            raise ModelError(
                f"{owner}: {name} is not on the pixels of the capture",
                got=f"shape {tuple(values.shape)}",
                expected=f"shape {shape}",
            )


def check_values(prediction: Prediction, pixels: NDArray[np.intp], owner: str) -> None:
    """Raise `ModelError` if a distance is not positive and finite, or an end or deviation is NaN.

    `pixels` are `[N]` flat indices of the scored pixels.
    """
    distance, sd = prediction.distance_m.ravel()[pixels], relative_sd(prediction).ravel()[pixels]
    bad = ~(np.isfinite(distance) & (distance > 0) & np.isfinite(sd) & (sd >= 0))
    for level in INTERVAL_LEVELS:
        for end in prediction.interval_m[level]:
            bad |= np.isnan(end.ravel()[pixels])
    if prediction.sides is not None:
        for values in vars(prediction.sides).values():
            bad |= np.isnan(values.ravel()[pixels])
    if bad.any():
        raise ModelError(
            f"{owner} has no usable prediction at {int(bad.sum())} of {len(pixels)} scored pixels",
            expected="distance > 0, deviation >= 0 and no NaN all over the support",
            todo="Score on a support that every model covers.",
        )


def relative_sd(prediction: Prediction) -> Float:
    """Expected relative error `[H, W]`: to first order sd(d) / d = d * sd(1 / d)."""
    assert prediction.sd_dpt is not None, "see `check_prediction`"
    return np.asarray(prediction.sd_dpt * prediction.distance_m, dtype=np.float32)


def relative_error(truth_m: Float, distance_m: Float) -> Float:
    """Absolute error over truth, shape of the arguments."""
    return np.asarray(np.abs(distance_m - truth_m) / truth_m, dtype=np.float32)


def pixel_sums(
    truth_m: Float,
    prediction: Prediction,
    pixels: NDArray[np.intp],
    cell: NDArray[np.intp],
    cells: int,
) -> Double:
    """Sums over pixels from which scores are computed, for each cell.

    Args:
        truth_m: `[N]` true distance of the scored pixels [m].
        prediction: The model's prediction, maps `[H, W]`.
        pixels: `[N]` flat indices of the scored pixels in the maps.
        cell: `[N]` cell of each pixel, 0 to `cells` - 1.
        cells: Number of cells.

    Returns:
        `[cells, len(SUMS)]`; NaN in cells with a pixel without a prediction.
    """
    distance = prediction.distance_m.ravel()[pixels]
    error = distance - truth_m
    ratio = np.maximum(distance / truth_m, truth_m / distance)
    values: list[NDArray[np.generic]] = [
        relative_error(truth_m, distance),
        np.abs(error),
        np.square(error),
        np.square(1.0 / distance - 1.0 / truth_m),
        *(ratio < _DELTA_BASE**power for power in (1, 2, 3)),
    ]
    for level in INTERVAL_LEVELS:
        near, far = (end.ravel()[pixels] for end in prediction.interval_m[level])
        values.append((near <= truth_m) & (truth_m <= far))
    sums: list[NDArray[np.generic]] = [np.bincount(cell, minlength=cells)]
    sums += [np.bincount(cell, value.astype(np.float64), cells) for value in values]
    table = np.stack(sums, axis=-1).astype(np.float64)
    table[~np.isfinite(table).all(axis=-1)] = np.nan
    return table


def score_array(sums: Double) -> Double:
    """Scores and coverages `[..., len(SUMS) - 1]` from sums `[..., len(SUMS)]`; NaN without pixels.

    Their order is that of `SUMS[1:]`.
    """
    pixels = sums[..., :1]
    with np.errstate(invalid="ignore", divide="ignore"):
        means = np.where(pixels > 0, sums[..., 1:] / pixels, np.nan)
    for name in _SQUARED:
        means[..., SCORES.index(name)] = np.sqrt(means[..., SCORES.index(name)])
    return np.asarray(means)


def scores(sums: Double) -> dict[str, float | None]:
    """The seven scores from sums `[len(SUMS)]`; None without pixels.

    AbsRel, MAE [m], RMSE [m], RMSE [dpt] and the shares of pixels whose ratio to the truth is
    within 1.25, 1.25^2 and 1.25^3.
    """
    return dict(zip(SCORES, map(json_number, score_array(sums)), strict=False))


def coverage(sums: Double) -> dict[str, float | None]:
    """Share of pixels whose truth lies within the central interval of each level."""
    shares = score_array(sums)[len(SCORES) :]
    return {
        str(level): json_number(share) for level, share in zip(INTERVAL_LEVELS, shares, strict=True)
    }


def json_number(value: float) -> float | None:
    """A plain float, or None for NaN and infinity, which JSON lacks."""
    return float(value) if np.isfinite(value) else None
