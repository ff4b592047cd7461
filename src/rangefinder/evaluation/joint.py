"""Predicted against true distance, counted capture by capture."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from rangefinder.config import Interval
from rangefinder.evaluation.metrics import Double, Float, relative_error

_BINS = 96


class DistanceJoint:
    """Histogram over (true, predicted) distance in bins of equal ratio, and AbsRel per true bin.

    Args:
        range_m: Nearest and farthest distance [m]; predictions beyond share the end bins.
    """

    def __init__(self, range_m: Interval) -> None:
        self.edges_m: Double = np.geomspace(*range_m, _BINS + 1)
        self.counts: Double = np.zeros((_BINS, _BINS))
        self._error_sums: Double = np.zeros(_BINS)

    def add(self, truth_m: Float, distance_m: Float) -> None:
        """Count pixels: true and predicted distance `[N]` [m]."""
        row, col = self._bin(truth_m), self._bin(distance_m)
        counts = np.bincount(row * _BINS + col, minlength=_BINS * _BINS)
        self.counts += counts.reshape(_BINS, _BINS)
        error = relative_error(truth_m, distance_m)
        self._error_sums += np.bincount(row, weights=error, minlength=_BINS)

    @property
    def centres_m(self) -> Double:
        """Middle of each bin `[96]` [m]."""
        return np.asarray(np.sqrt(self.edges_m[1:] * self.edges_m[:-1]))

    @property
    def abs_rel(self) -> Double:
        """Mean AbsRel per true bin `[96]`; NaN in empty ones."""
        pixels = self.counts.sum(axis=1)
        safe = np.where(pixels > 0, pixels, 1.0)
        return np.where(pixels > 0, self._error_sums / safe, np.nan)

    def predicted_quantile_m(self, level: float) -> Double:
        """Quantile of the predictions per true bin `[96]` [m]; NaN in empty ones."""
        total = self.counts.sum(axis=1, keepdims=True)
        reached = np.cumsum(self.counts, axis=1) >= level * total
        quantile = self.centres_m[np.argmax(reached, axis=1)]
        return np.where(total[:, 0] > 0, quantile, np.nan)

    def _bin(self, distance_m: Float) -> NDArray[np.intp]:
        near, far = np.log(self.edges_m[0]), np.log(self.edges_m[-1])
        place = (np.log(distance_m) - near) * (_BINS / (far - near))
        return np.asarray(np.clip(place, 0, _BINS - 1), dtype=np.intp)
