"""Curves and maps of one model: sparsification, predicted against true distance, sensor."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from rangefinder.config import Interval
from rangefinder.evaluation.metrics import Double, Float, relative_error

_DISTANCE_BINS = 96
_DROPPED_BITS = 10  # of the 23-bit mantissa: bins are a relative 1.2e-4 wide
_LOWEST, _HIGHEST = 2.0**-24, 2.0**8  # values beyond share the end bins


def _code(values: Float) -> NDArray[np.int64]:
    """Bin of each value: positive IEEE floats, read as integers, keep their order."""
    bits = np.ascontiguousarray(values, dtype=np.float32).view(np.int32) >> _DROPPED_BITS
    return bits.astype(np.int64)


_FIRST, _LAST = (int(_code(np.asarray([edge], np.float32))[0]) for edge in (_LOWEST, _HIGHEST))


class LogHistogram:
    """Counts of non-negative values in fine logarithmic bins, and sums of a weight with them."""

    def __init__(self) -> None:
        self.counts = np.zeros(_LAST - _FIRST + 1)
        self.sums = np.zeros(_LAST - _FIRST + 1)

    def add(self, values: Float, weights: Float | None = None) -> None:
        """Count values `[N]` >= 0, with weights `[N]` if there are any."""
        code = np.clip(_code(values), _FIRST, _LAST) - _FIRST
        self.counts += np.bincount(code, minlength=len(self.counts))
        if weights is not None:
            self.sums += np.bincount(code, weights=weights, minlength=len(self.sums))

    def upper_share(self, share: float) -> float:
        """Threshold that about `share` of the values reach; infinity without values."""
        above = np.cumsum(self.counts[::-1])[::-1]
        if above[0] == 0:
            return float("inf")
        enough = np.flatnonzero(above >= share * above[0])
        if enough[-1] == 0:
            return 0.0
        bits = np.asarray([(enough[-1] + _FIRST) << _DROPPED_BITS], dtype=np.int32)
        return float(bits.view(np.float32)[0])

    def mean_of_lowest(self, shares: Double) -> Double:
        """Mean weights `[K]` of the lowest `shares` `[K]` of the values; NaN without values.

        Values of one bin are kept in part.
        """
        used = self.counts > 0
        if not used.any():
            return np.full(len(shares), np.nan)
        count = np.concatenate([[0.0], np.cumsum(self.counts[used])])
        total = np.concatenate([[0.0], np.cumsum(self.sums[used])])
        kept = np.asarray(shares) * count[-1]
        return np.asarray(np.interp(kept, count, total) / kept)


@dataclass(frozen=True)
class SparsificationCurve:
    """Mean AbsRel of the remaining pixels against the share removed (1 - coverage)."""

    removed: Double  # `[K]` share of pixels removed, 0 to 0.99
    by_uncertainty: Double  # `[K]` mean AbsRel, the most uncertain removed first
    by_error: Double  # `[K]` mean AbsRel, the largest error removed first: the oracle

    @property
    def ause(self) -> float:
        """Area under the sparsification error (trapezoids) [AbsRel]; 0 is perfect."""
        return float(np.trapezoid(self.by_uncertainty - self.by_error, self.removed))

    @property
    def selective_risk_50(self) -> float:
        """Selective risk at 50 % coverage: mean AbsRel of the least uncertain half."""
        return float(np.interp(0.5, self.removed, self.by_uncertainty))


class Sparsification:
    """Accumulates errors and uncertainties of pixels, capture by capture."""

    def __init__(self) -> None:
        self._by_uncertainty = LogHistogram()
        self._by_error = LogHistogram()

    def add(self, error: Float, uncertainty: Float) -> None:
        """Add pixels: absolute relative error `[N]` and its predicted standard deviation `[N]`."""
        self._by_uncertainty.add(uncertainty, error)
        self._by_error.add(error, error)

    def curve(self) -> SparsificationCurve:
        """The curves over all pixels added so far."""
        removed = np.arange(100) / 100
        return SparsificationCurve(
            removed,
            self._by_uncertainty.mean_of_lowest(1.0 - removed),
            self._by_error.mean_of_lowest(1.0 - removed),
        )


class DistanceHistogram:
    """Histogram over (true, predicted) distance in bins of equal ratio, and AbsRel per true bin.

    Args:
        range_m: Nearest and farthest distance [m]; predictions beyond share the end bins.
    """

    def __init__(self, range_m: Interval) -> None:
        self.edges_m: Double = np.geomspace(*range_m, _DISTANCE_BINS + 1)
        self.counts: Double = np.zeros((_DISTANCE_BINS, _DISTANCE_BINS))
        self._error_sums: Double = np.zeros(_DISTANCE_BINS)

    def add(self, truth_m: Float, distance_m: Float) -> None:
        """Count pixels: true and predicted distance `[N]` [m]."""
        row, col = self._bin(truth_m), self._bin(distance_m)
        counts = np.bincount(row * _DISTANCE_BINS + col, minlength=_DISTANCE_BINS * _DISTANCE_BINS)
        self.counts += counts.reshape(_DISTANCE_BINS, _DISTANCE_BINS)
        error = relative_error(truth_m, distance_m)
        self._error_sums += np.bincount(row, weights=error, minlength=_DISTANCE_BINS)

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
        place = (np.log(distance_m) - near) * (_DISTANCE_BINS / (far - near))
        return np.asarray(np.clip(place, 0, _DISTANCE_BINS - 1), dtype=np.intp)


class SensorErrors:
    """Mean AbsRel in each cell of the sensor.

    Args:
        grid: Rows and columns of the cells.
    """

    def __init__(self, grid: tuple[int, int]) -> None:
        self.pixels: Double = np.zeros(grid)
        self._sums: Double = np.zeros(grid)

    def add(self, sensor_cell: NDArray[np.intp], error: Float) -> None:
        """Count pixels: flat index of the sensor's cell and relative error `[N]`."""
        cells = self.pixels.size
        self.pixels += np.bincount(sensor_cell, minlength=cells).reshape(self.pixels.shape)
        self._sums += np.bincount(sensor_cell, error, cells).reshape(self.pixels.shape)

    @property
    def abs_rel(self) -> Double:
        """Mean AbsRel `[rows, columns]`; NaN in empty cells."""
        with np.errstate(invalid="ignore"):
            return np.asarray(self._sums / self.pixels)
