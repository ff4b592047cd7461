"""What drift is measured against: photos that training held out, as a model's card keeps them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated

from pydantic import Field

from rangefinder.config import Name, Strict

Value = Annotated[float, Field(ge=-1e9, le=1e9)]
Curve = Annotated[tuple[Value, ...], Field(max_length=1000)]
Curves = Annotated[tuple[Curve, ...], Field(max_length=1000)]


class Estimate(Strict):
    """A statistic of some photos."""

    value: Value
    se: float = Field(ge=0, le=1e9, description="standard error, over photos")
    photos: int = Field(ge=2, le=10**9, description="number of photos it was taken from")


class DriftReference(Strict):
    """Blur of held-out photos, by predicted distance and place, and statistics of these photos."""

    curves: Mapping[Name, Curves] = Field(
        max_length=100,
        description="by measure: its value in steps of inverse distance, each by distance from the "
        "optical centre",
    )
    estimates: Mapping[Name, Estimate] = Field(max_length=1000, description="by statistic")
