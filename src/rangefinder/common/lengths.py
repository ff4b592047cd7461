"""Distances as people read them: centimetres close to the lens, metres beyond, round numbers."""

from __future__ import annotations

import math
from dataclasses import dataclass

Interval = tuple[float, float]
_ROUND = (  # leading digits of round numbers, fine to coarse
    (1.0, 1.5, 2.0, 3.0, 4.0, 5.0, 7.0),
    (1.0, 2.0, 5.0),
    (1.0,),
)
_FEWEST, _MOST = 4, 9  # round numbers in a range
LONGEST_CM = 0.3  # [m]; beyond, metres


@dataclass(frozen=True)
class LengthUnit:
    """Unit in which the distances of a range are shown."""

    name: str  # as it stands behind a number
    per_m: float  # so many in a metre

    def text(self, distance_m: float) -> str:
        """A distance [m] as a number in this unit, without the unit."""
        return f"{distance_m * self.per_m:.5g}"

    def fixed(self, distance_m: float, decimals: int) -> str:
        """A distance [m] with so many decimals in metres, and one less in centimetres."""
        return f"{distance_m * self.per_m:.{decimals - (self.per_m > 1)}f}"


def length_unit(range_m: Interval) -> LengthUnit:
    """The unit for a range [m]: centimetres where all of it is close, else metres."""
    return LengthUnit("cm", 100.0) if range_m[1] <= LONGEST_CM else LengthUnit("m", 1.0)


def length(distance_m: float, digits: int = 3) -> str:
    """A distance [m] with its unit, to so many digits."""
    unit = length_unit((0.0, distance_m))
    return f"{float(f'{distance_m * unit.per_m:.{digits}g}'):.6g} {unit.name}"


def span(range_m: Interval, digits: int = 2) -> str:
    """A range [m] with its unit, to so many digits or as many as tell its ends apart."""
    near_m, far_m = range_m
    digits += max(0, round(math.log10(far_m / (far_m - near_m))))
    unit = length_unit(range_m)
    near, far = (f"{float(f'{end * unit.per_m:.{digits}g}'):.6g}" for end in range_m)
    return f"{near} to {far} {unit.name}"


def round_distances_m(range_m: Interval) -> list[float]:
    """Round distances [m] within a range, four to nine where there are so many."""
    near, far = range_m
    decades = range(math.floor(math.log10(near)), math.ceil(math.log10(far)) + 1)
    for digits in _ROUND:
        found = [float(f"{digit}e{power}") for power in decades for digit in digits]
        found = [distance for distance in found if near <= distance <= far]
        if len(found) <= _MOST:
            break
    return found if len(found) >= _FEWEST else _evenly(near, far)


def _evenly(near: float, far: float) -> list[float]:
    """Multiples of a round step."""
    finest = (far - near) / _MOST
    power = math.floor(math.log10(finest))
    step = next(s for s in (f"{d}e{power}" for d in (1, 2, 5, 10)) if float(s) >= finest)
    first, last = math.ceil(near / float(step) - 1e-9), math.floor(far / float(step) + 1e-9)
    return [float(f"{n * float(step):.6g}") for n in range(first, last + 1)]
