"""What a model must beat: the answer of somebody who never looks at the picture."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from rangefinder.errors import CaptureError
from rangefinder.evaluation.metrics import LEVELS, Float, Model, Ranging

if TYPE_CHECKING:
    from rangefinder.captures.manifest import CaptureSet


def constant_ranging(distances_m: Float, shape: tuple[int, int]) -> Ranging:
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


def constant_model(training: CaptureSet, captures: CaptureSet) -> Model:
    """Constant predictor from the distances of the training charts.

    Args:
        training: Any set; its rows of split `train` that state one distance are used.
        captures: The captures to be scored.

    Returns:
        A function from a capture's index to its prediction.

    Raises:
        CaptureError: If no training capture states a distance.
    """
    table = training.table
    stated = table.loc[table["split"].eq("train") & table["distance_m"].notna(), "distance_m"]
    if stated.empty:
        raise CaptureError(
            "the constant baseline has no training distances",
            got=f"{len(table)} captures, none of split 'train' with a distance_m",
            expected="at least one chart of split 'train'",
            todo="Add charts to the manifest.",
        )
    distances = stated.to_numpy(dtype=np.float64)
    rows = captures.table
    height, width = (rows[name].to_numpy(dtype=np.int64) for name in ("height_px", "width_px"))
    return lambda index: constant_ranging(distances, (int(height[index]), int(width[index])))
