"""Baselines: predictions made without looking at the image."""

from __future__ import annotations

import warnings
from typing import cast

import numpy as np
from numpy.typing import NDArray

from rangefinder.captures.manifest import CaptureSet
from rangefinder.errors import CaptureError
from rangefinder.evaluation.metrics import Double, Float, Model
from rangefinder.models.distribution import INTERVAL_LEVELS, Prediction

_LINES = 64  # rows and columns of a map that are sampled
_MAX_MAPS = 200  # held in memory at once


def constant_prediction(distances_m: Float | Double, shape: tuple[int, int]) -> Prediction:
    """Median and central intervals of training distances `[N]` [m], the same on every pixel.

    Args:
        distances_m: `[N]` training distances [m].
        shape: Height and width of the maps [px].
    """

    def everywhere(value: float) -> Float:
        return np.broadcast_to(np.float32(value), shape)

    intervals = {}
    for level in INTERVAL_LEVELS:
        tail = (1.0 - level) / 2
        near, far = np.quantile(distances_m, (tail, 1.0 - tail))
        intervals[level] = (everywhere(near), everywhere(far))
    sd_dpt = float(np.std(1.0 / distances_m))
    return Prediction(everywhere(float(np.median(distances_m))), intervals, everywhere(sd_dpt))


def training_distances(training: CaptureSet) -> Double:
    """Known distances `[N]` [m] of split `train`: of labelled captures if any, else of charts.

    Raises:
        CaptureError: If there are none.
    """
    table = training.table
    charts = table.loc[table["split"].eq("train") & table["distance_m"].notna(), "distance_m"]
    known = [charts.to_numpy(dtype=np.float64)]
    if table.get("role", default=charts).eq("labelled").any():
        labelled = training.select(role="labelled", split="train")
        known = [_sample(labelled, index) for index in range(len(labelled))] or known
    distances = np.concatenate(known)
    if not distances.size:
        raise CaptureError(
            "the constant baseline has no training distances",
            got=f"{len(table)} captures, none of split 'train' with a distance",
            expected="at least one chart or labelled capture of split 'train'",
            todo="Add some to the manifest.",
        )
    return distances


def _sample(captures: CaptureSet, index: int) -> Double:
    """Known distances on some rows and columns of a map."""
    distance_m = np.asarray(captures.distance_map(index), dtype=np.float64)
    height, width = distance_m.shape
    sample = distance_m[:: max(height // _LINES, 1), :: max(width // _LINES, 1)]
    return sample[sample > 0]


def constant_model(training: CaptureSet, captures: CaptureSet) -> Model:
    """Constant baseline: function from a scored capture's index to the training split's median.

    Raises:
        CaptureError: If no training capture has a distance.
    """
    distances = training_distances(training)
    sizes = captures.table[["height_px", "width_px"]].to_numpy(dtype=np.int64).tolist()
    return lambda index: constant_prediction(distances, tuple(sizes[index]))


def median_map_model(training: CaptureSet, captures: CaptureSet) -> Model | None:
    """Median-map baseline: each pixel's median over the training maps.

    Args:
        training: Labelled captures of its split `train` are used.
        captures: The scored captures.

    Returns:
        A function from a capture's index to its prediction, or None if no training capture covers
        the same part of the sensor as the first scored one. Where no training map has a distance,
        and for captures of other parts, it predicts as `constant_model`.
    """
    labelled = training.select(role="labelled", split="train")
    frame = ["height_px", "width_px", "origin_x_px", "origin_y_px", "scale"]
    first = captures.table[frame].iloc[0]
    used = np.flatnonzero(labelled.table[frame].eq(first).all(axis=1))[:_MAX_MAPS]
    if not used.size:
        return None
    maps = np.stack([np.asarray(labelled.distance_map(i), dtype=np.float32) for i in used])
    known = np.sort(np.where(maps > 0, maps, np.inf), axis=0)
    constant = constant_model(training, captures)
    median = _median_prediction(known, (maps > 0).sum(axis=0), constant(0))
    fits = captures.table[frame].eq(first).all(axis=1).to_numpy()
    return lambda index: median if fits[index] else constant(index)


def _median_prediction(known: Float, counts: NDArray[np.intp], fallback: Prediction) -> Prediction:
    """Quantiles over axis 0 of ascending `[N, H, W]`, of which the first `counts` are numbers."""

    def quantile(level: float) -> Float:
        place = np.clip(np.rint(level * (counts - 1)), 0, None).astype(np.intp)
        return np.asarray(np.take_along_axis(known, place[None], axis=0)[0])

    def filled(values: Float, otherwise: Float) -> Float:
        return np.where(counts > 0, values, otherwise).astype(np.float32)

    intervals = {}
    for level, (near, far) in fallback.interval_m.items():
        tail = (1.0 - level) / 2
        intervals[level] = (filled(quantile(tail), near), filled(quantile(1.0 - tail), far))
    inverse = np.where(np.isfinite(known), 1.0 / known, np.nan)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # pixels that no map covers
        sd_dpt = np.nanstd(inverse, axis=0)
    return Prediction(
        filled(quantile(0.5), fallback.distance_m),
        intervals,
        filled(sd_dpt, cast("Float", fallback.sd_dpt)),
    )
