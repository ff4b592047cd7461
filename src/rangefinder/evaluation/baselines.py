"""What a model must beat: the answer of somebody who never looks at the picture."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from rangefinder.errors import CaptureError
from rangefinder.evaluation.metrics import LEVELS, Double, Float, Model, Ranging

if TYPE_CHECKING:
    from rangefinder.captures.manifest import CaptureSet

_LINES = 64  # rows and columns of a map that are looked at
_MOST_MAPS = 200  # that are held in memory at once


def constant_ranging(distances_m: Float | Double, shape: tuple[int, int]) -> Ranging:
    """The same prediction everywhere: what the training distances alone say.

    Args:
        distances_m: `[N]` training distances [m].
        shape: Height and width of the maps [px].

    Returns:
        Their median, their central quantile intervals and the standard deviation of their
        inverses, on every pixel.
    """

    def everywhere(value: float) -> Float:
        return np.broadcast_to(np.float32(value), shape)

    intervals = {}
    for level in LEVELS:
        tail = (1.0 - level) / 2
        near, far = np.quantile(distances_m, (tail, 1.0 - tail))
        intervals[level] = (everywhere(near), everywhere(far))
    sd_dpt = float(np.std(1.0 / distances_m))
    return Ranging(everywhere(float(np.median(distances_m))), intervals, everywhere(sd_dpt))


def training_distances(training: CaptureSet) -> Double:
    """Distances `[N]` [m] that training captures state.

    Args:
        training: Any set; its rows of split `train` are used: pixels of distance maps (of labelled
            captures) where there are any, else the distances of charts.

    Raises:
        CaptureError: If no training capture states a distance.
    """
    table = training.table
    stated = table.loc[table["split"].eq("train") & table["distance_m"].notna(), "distance_m"]
    known = [stated.to_numpy(dtype=np.float64)]
    if table.get("role", default=stated).eq("labelled").any():
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
    """Constant predictor from the distances of the training captures.

    Args:
        training: Any set; its charts and labelled captures of split `train` are used.
        captures: The captures to be scored.

    Returns:
        A function from a capture's index to its prediction.

    Raises:
        CaptureError: If no training capture states a distance.
    """
    distances = training_distances(training)
    rows = captures.table
    height, width = (rows[name].to_numpy(dtype=np.int64) for name in ("height_px", "width_px"))
    return lambda index: constant_ranging(distances, (int(height[index]), int(width[index])))


def median_map_model(training: CaptureSet, captures: CaptureSet) -> Model | None:
    """Each pixel's median over the training maps: where things usually stand in the picture.

    Args:
        training: Any set; its labelled captures of split `train` are used.
        captures: The captures to be scored.

    Returns:
        A function from a capture's index to its prediction, or None if no training capture covers
        the same part of the sensor as a capture to be scored. Where no training map knows a pixel,
        and in captures of other sizes, it answers as `constant_model`.
    """
    labelled = training.select(role="labelled", split="train")
    frame = ["height_px", "width_px", "origin_x_px", "origin_y_px", "scale"]
    shared = labelled.table[frame].eq(captures.table[frame].iloc[0]).all(axis=1).to_numpy()
    chosen = np.flatnonzero(shared)[:_MOST_MAPS]
    if not chosen.size:
        return None
    maps = np.stack([np.asarray(labelled.distance_map(i), dtype=np.float32) for i in chosen])
    known = np.sort(np.where(maps > 0, maps, np.inf), axis=0)
    counts = (maps > 0).sum(axis=0)
    constant = constant_model(training, captures)
    fits = captures.table[frame].eq(captures.table[frame].iloc[0]).all(axis=1).to_numpy()
    fallback = constant(int(np.flatnonzero(fits)[0]))
    median = _median_ranging(known, counts, fallback)
    return lambda index: median if fits[index] else constant(index)


def _median_ranging(known: Float, counts: NDArray[np.intp], fallback: Ranging) -> Ranging:
    """Quantiles over axis 0 of ascending `[N, H, W]`, of which the first `counts` are numbers."""

    def quantile(level: float) -> Float:
        place = np.clip(np.rint(level * (counts - 1)), 0, None).astype(np.intp)
        return np.asarray(np.take_along_axis(known, place[None], axis=0)[0])

    def filled(values: Float, instead: Float) -> Float:
        return np.where(counts > 0, values, instead).astype(np.float32)

    intervals = {}
    for level, (near, far) in fallback.interval_m.items():
        tail = (1.0 - level) / 2
        intervals[level] = (filled(quantile(tail), near), filled(quantile(1.0 - tail), far))
    inverse = np.where(np.isfinite(known), 1.0 / known, np.nan)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # pixels that no map knows
        sd_dpt = np.nanstd(inverse, axis=0)
    return Ranging(
        filled(quantile(0.5), fallback.distance_m), intervals, filled(sd_dpt, fallback.sd_dpt)
    )
