"""What drift is measured against: photos that training held out, as a model's card keeps them."""

from __future__ import annotations

from collections.abc import Mapping

from pydantic import Field

from rangefinder.config import Strict


class Estimate(Strict):
    """A statistic of some photos."""

    value: float
    se: float = Field(ge=0, description="standard error, over photos")
    photos: int = Field(ge=2, description="number of photos it was taken from")


class DriftReference(Strict):
    """Blur of held-out photos, by predicted distance and place, and statistics of these photos."""

    curves: Mapping[str, tuple[tuple[float, ...], ...]] = Field(
        description="by measure: its value in steps of inverse distance, each by distance from the "
        "optical centre"
    )
    estimates: Mapping[str, Estimate] = Field(description="by statistic")
