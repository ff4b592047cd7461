"""What an ablation says about the method, claim by claim."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pandas as pd

from rangefinder.evaluation.metrics import json_number

SCORES = (
    *("abs_rel", "delta1", "corner_abs_rel", "strong_abs_rel", "weak_abs_rel"),
    *("edge_abs_rel", "coverage_80"),
)
WHOLE = "all"


@dataclass(frozen=True)
class Claim:
    """The whole method is better than a variant by so much.

    Attributes:
        says: In plain words.
        variant: What it is compared with.
        score: A column of the table; smaller is better.
        at_most: Largest ratio whole / variant that bears the claim out.
    """

    says: str
    variant: str
    score: str = "abs_rel"
    at_most: float = 1.0


CLAIMS = (
    Claim("The student is nearer the truth than its teacher", "teacher", at_most=0.85),
    Claim("... at depth edges", "teacher", "edge_abs_rel", 0.7),
    Claim("... on weak texture", "teacher", "weak_abs_rel", 0.7),
    Claim(
        "The place on the sensor tells distance in the corners",
        "no_location",
        "corner_abs_rel",
        1 / 1.3,
    ),
    Claim("Photos nobody labelled teach more than the charts themselves", "on_charts", at_most=0.7),
    Claim("Colour tells distance", "no_colour"),
    Claim("A distribution says more than one distance and its spread", "laplace"),
    Claim("Weighing cells by what the teacher knows helps", "no_weighting"),
    Claim("Counting cells alike is better than by what the teacher knows", "weighting"),
    Claim("A patch's own answer teaches more than its neighbours' too", "pooling"),
    Claim("What neighbours say helps", "no_pooling"),
    Claim("A student that sees all the texture there is learns more", "fading"),
    Claim("A student that sees less texture than its teacher learns more", "no_fading"),
    Claim("Every cell answers better for itself", "agreement"),
    Claim("Neighbours that look alike answer better together", "no_agreement"),
    Claim("A student is better off without scenes of charts", "laid_charts"),
    Claim("Scenes of charts show a student where things end", "no_laid_charts"),
    Claim("... at depth edges", "no_laid_charts", "edge_abs_rel"),
    Claim("Charts before charts help", "whole_charts"),
    Claim("Sharing layers is better than none", "sharing_none"),
    Claim("The way of sharing is better than copying at the start", "sharing_init"),
    Claim("The way of sharing is better than freezing", "sharing_frozen"),
    Claim("The way of sharing is better than learning jointly", "sharing_joint"),
    Claim("The patch is not too large", "smaller_patch"),
    Claim("The patch is not too small", "larger_patch"),
)


def judge(table: pd.DataFrame) -> list[dict[str, Any]]:
    """Which claims the table bears out.

    Args:
        table: One row per variant and seed, with the columns of `SCORES`.

    Returns:
        For each claim whose variants are there: `claim` in words, `holds`, and `numbers`: both
        means, their ratio per seed (mean, lowest, highest), and the ratio that was wanted.
    """
    if WHOLE not in set(table["variant"]):
        return []
    return [_judged(claim, table) for claim in CLAIMS if claim.variant in set(table["variant"])]


def _judged(claim: Claim, table: pd.DataFrame) -> dict[str, Any]:
    scores = table.pivot(index="seed", columns="variant", values=claim.score)
    pairs = scores[[WHOLE, claim.variant]].dropna()
    ratio = pairs[WHOLE] / pairs[claim.variant]
    return {
        "claim": claim.says,
        "holds": bool(ratio.mean() <= claim.at_most),
        "numbers": {
            "score": claim.score,
            WHOLE: float(pairs[WHOLE].mean()),
            claim.variant: float(pairs[claim.variant].mean()),
            "ratio": float(ratio.mean()),
            "ratio_lowest": float(ratio.min()),
            "ratio_highest": float(ratio.max()),
            "wanted_at_most": claim.at_most,
            "seeds": len(pairs),
        },
    }


def best_first(table: pd.DataFrame) -> list[str]:
    """Names of the variants by their mean AbsRel."""
    return [str(name) for name in table.groupby("variant")["abs_rel"].mean().sort_values().index]


def summary(table: pd.DataFrame) -> dict[str, Any]:
    """Content of ablation.json.

    Args:
        table: One row per variant and seed.

    Returns:
        `claims` as `judge` gives them; `variants`, best first: mean of every score over seeds; and
        `spread`: their standard deviations, None with a single seed.
    """
    grouped = table.groupby("variant")[list(SCORES)]
    means, deviations = grouped.mean().to_dict("index"), grouped.std().to_dict("index")
    order = best_first(table)
    return {
        "claims": judge(table),
        "variants": {name: _numbers(means[name]) for name in order},
        "spread": {name: _numbers(deviations[name]) for name in order},
    }


def _numbers(row: dict[Any, float]) -> dict[str, float | None]:
    return {str(key): json_number(float(value)) for key, value in row.items()}
