"""Parameters of the ablation: which variants are trained, and how often."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from rangefinder.strict import Strict

VariantName = Literal[
    "all",
    "no_location",
    "no_colour",
    "laplace",
    "smaller_patch",
    "larger_patch",
    "whole_charts",
    "sharing_none",
    "sharing_init",
    "sharing_frozen",
    "sharing_joint",
    "no_pooling",
    "pooling",
    "no_weighting",
    "weighting",
    "fading",
    "no_fading",
    "agreement",
    "laid_charts",
    "no_laid_charts",
    "no_agreement",
    "on_charts",
    "on_truth",
]


class AblationParams(Strict):
    """What is left out or replaced, to see what it does."""

    seeds: tuple[int, ...] = Field((0,), min_length=1, description="trainings of each variant")
    variants: tuple[VariantName, ...] | None = Field(None, min_length=1, description="null: all")
    workers: int = Field(2, ge=1, le=256, description="trainings side by side")
