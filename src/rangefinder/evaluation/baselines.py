"""Baselines: predictions made without looking at the image.

Their distances are the best ones of their kind for AbsRel: over training distances d, the mean of
|c - d| / d is least where c is the median of the d weighted by 1 / d.
"""

from __future__ import annotations

import numpy as np

from rangefinder.captures.manifest import CaptureSet
from rangefinder.captures.splits import Split
from rangefinder.errors import CaptureError
from rangefinder.evaluation.metrics import Double, Float, Model
from rangefinder.models.prediction import INTERVAL_LEVELS, Prediction

_SPLITS: tuple[Split, ...] = ("validation", "train")  # of labelled captures, the best last
_LINES = 64  # rows and columns of a map that are sampled


def best_constant_m(distances_m: Float | Double) -> float:
    """The constant [m] of least mean relative error to distances `[N]` [m]."""
    ascending = np.sort(distances_m)
    weight = np.cumsum(np.reciprocal(ascending.astype(np.float64)))
    return float(ascending[np.searchsorted(weight, weight[-1] / 2)])


def constant_prediction(distances_m: Float | Double, shape: tuple[int, int]) -> Prediction:
    """Best constant and central quantiles of training distances `[N]` [m], on every pixel alike.

    Args:
        distances_m: `[N]` training distances [m].
        shape: Height and width of the maps [px].
    """
    return _prediction(_fit(distances_m)[None], shape)


def _fit(distances_m: Float | Double) -> Double:
    """Best constant [m], near ends, far ends [m] and standard deviation [dpt] of distances `[N]`.

    `[2 + 2 * len(INTERVAL_LEVELS)]`.
    """
    tails = (1.0 - np.asarray(INTERVAL_LEVELS)) / 2
    near, far = np.quantile(distances_m, tails), np.quantile(distances_m, 1.0 - tails)
    sd_dpt = np.std(1.0 / distances_m)
    return np.asarray([best_constant_m(distances_m), *near, *far, sd_dpt], dtype=np.float64)


def _prediction(fits: Double, shape: tuple[int, int]) -> Prediction:
    """Maps of `shape` from the `_fit` of every row, or of all of them, `[rows, K]`."""
    maps = [np.broadcast_to(column[:, None].astype(np.float32), shape) for column in fits.T]
    count = len(INTERVAL_LEVELS)
    ends = zip(maps[1 : 1 + count], maps[1 + count : 1 + 2 * count], strict=True)
    return Prediction(maps[0], dict(zip(INTERVAL_LEVELS, ends, strict=True)), maps[-1])


def training_distances(training: CaptureSet) -> Double:
    """Known distances `[N]` [m] that models may learn from.

    Those of labelled captures of split `train`; else of split `validation`, which calibrates models
    and is of scenes as the scored ones are; else of the charts of split `train`.

    Raises:
        CaptureError: If there are none.
    """
    table = training.table
    charts = table.loc[table["split"].eq("train") & table["distance_m"].notna(), "distance_m"]
    known = [charts.to_numpy(dtype=np.float64)]
    if table.get("role", default=charts).eq("labelled").any():
        for split in _SPLITS:
            labelled = training.select(role="labelled", split=split)
            known = [_sample(labelled, index) for index in range(len(labelled))] or known
    distances = np.concatenate(known)
    if not distances.size:
        raise CaptureError(
            "the constant baseline has no training distances",
            got=f"{len(table)} captures, none of split 'train' with a distance",
            expected="a chart of split 'train', or a labelled capture that is not of split 'test'",
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
    """Constant baseline: function from a scored capture's index to the best constant of training.

    Raises:
        CaptureError: If no training capture has a distance.
    """
    fit = _fit(training_distances(training))[None]
    sizes = captures.table[["height_px", "width_px"]].to_numpy(dtype=np.int64).tolist()
    return lambda index: _prediction(fit, tuple(sizes[index]))


def row_model(training: CaptureSet, captures: CaptureSet) -> Model | None:
    """Baseline of the layout of photos, floors being near and low: the best constant of every row.

    Args:
        training: Labelled captures of its split `train` are used.
        captures: The scored captures.

    Returns:
        A function from a capture's index to its prediction, or None if no training capture covers
        the same part of the sensor as the first scored one. Rows without any training distance,
        and captures of other parts, are predicted as by `constant_model`.
    """
    labelled = training.select(role="labelled", split="train")
    frame = ["height_px", "width_px", "origin_x_px", "origin_y_px", "scale"]
    first = captures.table[frame].iloc[0]
    used = np.flatnonzero(labelled.table[frame].eq(first).all(axis=1))
    if not used.size:
        return None
    step = max(int(first["width_px"]) // _LINES, 1)
    maps = [np.asarray(labelled.distance_map(int(i)), np.float64)[:, ::step] for i in used]
    rows = np.concatenate(maps, axis=1)
    otherwise = _fit(training_distances(training))
    fits = np.stack([_fit(row[row > 0]) if (row > 0).any() else otherwise for row in rows])
    layout = _prediction(fits, (len(rows), int(first["width_px"])))
    constant = constant_model(training, captures)
    is_alike = captures.table[frame].eq(first).all(axis=1).to_numpy()
    return lambda index: layout if is_alike[index] else constant(index)
