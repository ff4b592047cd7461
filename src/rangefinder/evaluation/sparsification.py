"""Does the model know where it is wrong? Sparsification curves and the area between them (AUSE).

Pixels are taken away from the most uncertain down, and the mean error of the rest is followed; the
oracle takes them away by their true error. After Ilg et al., "Uncertainty Estimates and
Multi-Hypotheses Networks for Optical Flow", ECCV 2018. The error is AbsRel and is not normalised,
so AUSE is in units of AbsRel.

Values are counted on a logarithmic scale instead of sorted: memory stays the same for any number
of captures, the order of captures does not matter, and equal uncertainties are taken away evenly.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from rangefinder.evaluation.metrics import Double, Float

_DROPPED_BITS = 10  # of the 23-bit mantissa: values are told apart to a relative 1.2e-4
_LOWEST, _HIGHEST = 2.0**-24, 2.0**8  # values beyond share the end bins


def _code(values: Float) -> NDArray[np.int64]:
    """Positive IEEE floats, read as integers, keep their order; dropping low bits bins them."""
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
        """Threshold that about `share` of the values reach; infinity when there are no values."""
        above = np.cumsum(self.counts[::-1])[::-1]
        if above[0] == 0:
            return float("inf")
        enough = np.flatnonzero(above >= share * above[0])
        if enough[-1] == 0:
            return 0.0
        bits = np.asarray([(enough[-1] + _FIRST) << _DROPPED_BITS], dtype=np.int32)
        return float(bits.view(np.float32)[0])

    def mean_of_lowest(self, shares: Double) -> Double:
        """Mean weight of the lowest values.

        Args:
            shares: `[K]` shares of the values that are kept, above 0 and up to 1.

        Returns:
            `[K]` mean weights; values of one bin are kept in part. NaN without values.
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
    """Mean AbsRel of the pixels that are left.

    Attributes:
        removed: `[K]` share of pixels taken away, 0 to 0.99.
        by_uncertainty: `[K]` most uncertain first.
        by_error: `[K]` largest error first: the oracle.
    """

    removed: Double
    by_uncertainty: Double
    by_error: Double

    @property
    def ause(self) -> float:
        """Area between the two curves (trapezoids) [AbsRel]; 0 is perfect."""
        return float(np.trapezoid(self.by_uncertainty - self.by_error, self.removed))

    @property
    def surer_half(self) -> float:
        """Mean AbsRel of the half of the pixels that the model is surest of."""
        return float(np.interp(0.5, self.removed, self.by_uncertainty))


class Sparsification:
    """Collects errors and uncertainties of pixels, capture by capture."""

    def __init__(self) -> None:
        self._by_uncertainty = LogHistogram()
        self._by_error = LogHistogram()

    def add(self, error: Float, uncertainty: Float) -> None:
        """Add pixels: absolute relative error `[N]` and what the model expected of it `[N]`."""
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
