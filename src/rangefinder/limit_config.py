"""Parameters of what a lens can measure: they change no training and no other score."""

from __future__ import annotations

from pydantic import Field

from rangefinder.strict import Interval, Strict


class LimitParams(Strict):
    """What `rangefinder lens` asks of a camera: textures, noise and how finely to look."""

    planes: int = Field(64, ge=8, le=512, description="distances traced")
    every: int = Field(4, ge=1, le=64, description="one plane in so many is reported")
    noise: float = Field(0.01, gt=0, le=1, description="sd / mean of the light on the axis")
    strong_contrast: float = Field(0.5, gt=0, le=5, description="sd / mean within a patch")
    weak_contrast: float = Field(0.05, gt=0, le=5, description="sd / mean within a patch")
    coloured: float = Field(0.15, ge=0, lt=1, description="1 - correlation of a coloured texture")
    slope: float = Field(2.0, gt=0, le=4, description="power falls as frequency to this power")
    slopes: Interval = Field((1.6, 2.6), description="slopes a texture may have")
    log_contrast: float = Field(2.0, gt=0, le=10, description="contrasts: this far up and down")
    log_colour: float = Field(0.4, gt=0, le=5, description="contrast of red and blue over green")
    most_decorrelation: float = Field(0.6, gt=0, lt=1, description="of a texture's colours")
    least_gap: float = Field(0.1, ge=0, le=2, description="relative distance that counts as wrong")
    search_steps: int = Field(30, ge=1, le=1000, description="for the texture that hides best")
    frequency_share: int = Field(8, ge=1, le=64, description="search looks at one in so many")
