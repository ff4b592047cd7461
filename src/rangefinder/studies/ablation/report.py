"""Report of the ablation: hypotheses, the table and the figure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, TextIO

import matplotlib as mpl
import pandas as pd
from matplotlib.figure import Figure
from rich.table import Table

from rangefinder.common.figures import BLUE, DASHED, GREEN, GREY, GRID, MARK, SETTINGS, new_figure
from rangefinder.common.page import Grid, Picture, Section
from rangefinder.evaluation.metrics import json_number
from rangefinder.evaluation.report import print_parts, text_table
from rangefinder.studies.ablation.variants import WHOLE

SCORES = (
    *("abs_rel", "delta1", "corner_abs_rel", "strong_abs_rel", "weak_abs_rel"),
    *("edge_abs_rel", "coverage_80"),
)
_COLUMNS = {
    "AbsRel": "abs_rel",
    "d1": "delta1",
    "strong": "strong_abs_rel",
    "weak": "weak_abs_rel",
    "corner": "corner_abs_rel",
    "at edges": "edge_abs_rel",
    "in 80 %": "coverage_80",
}
_CAPTION = "AbsRel of each variant, best first"
_PANELS = {
    "abs_rel": "everywhere",
    "strong_abs_rel": "strong texture",
    "weak_abs_rel": "weak texture",
    "corner_abs_rel": "corners",
}


@dataclass(frozen=True)
class Hypothesis:
    """The whole method is better than a variant by a given ratio."""

    description: str  # in words
    variant: str  # the variant
    score: str = "abs_rel"  # A column of the table; smaller is better
    max_ratio: float = 1.0  # largest ratio whole / variant for which the hypothesis holds


HYPOTHESES = (
    Hypothesis("The student's error is below its teacher's", "teacher", max_ratio=0.85),
    Hypothesis("... at depth edges", "teacher", "edge_abs_rel", 0.7),
    Hypothesis("... on weak texture", "teacher", "weak_abs_rel", 0.7),
    Hypothesis("Location reduces the error in corners", "no_location", "corner_abs_rel", 1 / 1.3),
    Hypothesis("Unlabelled photos train better than charts", "on_charts", max_ratio=0.7),
    Hypothesis("Colour reduces the error", "no_colour"),
    Hypothesis("A categorical distribution is better than a Laplace distribution", "laplace"),
    Hypothesis("Negentropy weighting reduces the error", "no_negentropy_weighting"),
    Hypothesis("Equal weights are better than negentropy weighting", "negentropy_weighting"),
    Hypothesis("A cell's own posterior is better than an aggregated target", "target_aggregation"),
    Hypothesis("Target aggregation reduces the error", "no_target_aggregation"),
    Hypothesis("No contrast attenuation is better", "attenuation"),
    Hypothesis("Contrast attenuation reduces the error", "no_attenuation"),
    Hypothesis("No posterior aggregation is better", "aggregation"),
    Hypothesis("Posterior aggregation reduces the error", "no_aggregation"),
    Hypothesis("No composited scenes are better", "composited_scenes"),
    Hypothesis("Composited scenes reduce the error", "no_composited_scenes"),
    Hypothesis("... at depth edges", "no_composited_scenes", "edge_abs_rel"),
    Hypothesis("Composited charts reduce the error", "no_composited_charts"),
    Hypothesis("Sharing layers is better than none", "sharing_none"),
    Hypothesis("The sharing mode is better than initialisation", "sharing_init"),
    Hypothesis("The sharing mode is better than frozen layers", "sharing_frozen"),
    Hypothesis("The sharing mode is better than joint training", "sharing_joint"),
    Hypothesis("The patch is not too large", "smaller_patch"),
    Hypothesis("The patch is not too small", "larger_patch"),
)


def summary(table: pd.DataFrame) -> dict[str, Any]:
    """Content of ablation.json.

    Args:
        table: One row per variant and seed.

    Returns:
        `hypotheses` as from `judge_hypotheses`; `variants`, best first: mean of every score over
        seeds; and `spread`: their standard deviations, None with a single seed.
    """
    grouped = table.groupby("variant")[list(SCORES)]
    means, deviations = grouped.mean().to_dict("index"), grouped.std().to_dict("index")
    order = best_first(table)
    return {
        "hypotheses": judge_hypotheses(table),
        "variants": {name: _numbers(means[name]) for name in order},
        "spread": {name: _numbers(deviations[name]) for name in order},
    }


def judge_hypotheses(table: pd.DataFrame) -> list[dict[str, Any]]:
    """Which hypotheses hold.

    Args:
        table: One row per variant and seed, with the columns of `SCORES`.

    Returns:
        For each hypothesis whose variants are there: `hypothesis` in words, `holds`, and `numbers`:
        both means, their ratio paired by seed (mean, lowest, highest), and the largest one allowed.
    """
    variants = set(table["variant"])
    if WHOLE not in variants:
        return []
    return [_judge(one, table) for one in HYPOTHESES if one.variant in variants]


def _judge(hypothesis: Hypothesis, table: pd.DataFrame) -> dict[str, Any]:
    scores = table.pivot(index="seed", columns="variant", values=hypothesis.score)
    pairs = scores[[WHOLE, hypothesis.variant]].dropna()
    ratio = pairs[WHOLE] / pairs[hypothesis.variant]
    return {
        "hypothesis": hypothesis.description,
        "holds": bool(ratio.mean() <= hypothesis.max_ratio),
        "numbers": {
            "score": hypothesis.score,
            WHOLE: float(pairs[WHOLE].mean()),
            hypothesis.variant: float(pairs[hypothesis.variant].mean()),
            "ratio": float(ratio.mean()),
            "ratio_lowest": float(ratio.min()),
            "ratio_highest": float(ratio.max()),
            "wanted_at_most": hypothesis.max_ratio,
            "seeds": len(pairs),
        },
    }


def best_first(table: pd.DataFrame) -> list[str]:
    """Names of the variants by their mean AbsRel."""
    return [str(name) for name in table.groupby("variant")["abs_rel"].mean().sort_values().index]


def _numbers(row: dict[Any, float]) -> dict[str, float | None]:
    return {str(key): json_number(float(value)) for key, value in row.items()}


def print_ablation(summary: dict[str, Any], stream: TextIO | None = None) -> None:
    """Write variants and hypotheses.

    Args:
        summary: Content of ablation.json.
        stream: Standard output by default.
    """
    print_parts((f"Ablation: {_CAPTION}", _variants(summary), _hypotheses(summary)), stream)


def section(summary: dict[str, Any], figure: bytes | None) -> Section:
    """The same for a page.

    Args:
        summary: Content of ablation.json.
        figure: PNG of `ablation_figure`, if there is one.
    """
    best = ", ".join(
        f"{name} {scores['abs_rel']:.3f}" for name, scores in summary["variants"].items()
    )
    alt = f"Bars of the AbsRel of each variant, best first: {best}."
    return Section(
        "What each part is worth",
        [
            f"The method was trained again with parts left out or replaced; `{WHOLE}` is all of "
            "it. A hypothesis holds if the ratio of the errors, whole method over variant, is at "
            "most the one required.",
            *([Picture(figure, alt)] if figure else []),
            Grid(_variants(summary), _CAPTION),
            Grid(_hypotheses(summary), "Hypotheses"),
        ],
    )


def _variants(summary: dict[str, Any]) -> Table:
    rows = [
        [name, *(_cell(means[key], summary["spread"][name][key]) for key in _COLUMNS.values())]
        for name, means in summary["variants"].items()
    ]
    return text_table(["variant", *_COLUMNS], rows)


def _hypotheses(summary: dict[str, Any]) -> Table:
    rows = []
    for judged in summary["hypotheses"]:
        numbers = judged["numbers"]
        score = "" if numbers["score"] == "abs_rel" else f" [{numbers['score']}]"
        holds, ratio = "yes" if judged["holds"] else "NO", f"{numbers['ratio']:.3f}"
        limit = f"<= {numbers['wanted_at_most']:.2f}"
        rows.append([judged["hypothesis"] + score, holds, ratio, limit])
    return text_table(["hypothesis", "holds", "ratio", "required"], rows)


def _cell(mean: float, deviation: float | None) -> str:
    return f"{mean:.3f}" if deviation is None else f"{mean:.3f} ({deviation:.3f})"


def ablation_figure(table: pd.DataFrame) -> Figure:
    """AbsRel of each variant, best first; a dot per seed.

    Args:
        table: From `ablate`.
    """
    order = best_first(table)[::-1]
    descriptions = dict(zip(table["variant"], table["description"], strict=True))
    with mpl.rc_context(SETTINGS):
        figure = new_figure(13.0, 1.6 + 0.36 * len(order))
        figure.suptitle("AbsRel of each variant on held-out scenes", x=0.01, ha="left")
        panels = figure.subplots(1, len(_PANELS), sharey=True, squeeze=False)[0]
        for axes, (column, title) in zip(panels, _PANELS.items(), strict=True):
            means = table.groupby("variant")[column].mean()
            colours = [GREEN if name == WHOLE else BLUE for name in order]
            axes.barh(range(len(order)), means[order], color=colours, height=0.62)
            for place, name in enumerate(order):
                seeds = table.loc[table["variant"] == name, column]
                axes.plot(seeds, [place] * len(seeds), "o", color=GREY, ms=3)
                axes.text(0, place, f" {means[name]:.3f}", va="center", color="white", size=8)
            axes.axvline(means[WHOLE], color=MARK, **DASHED)
            axes.set_title(title)
            axes.grid(visible=True, axis="x", color=GRID)
        labels = [f"{descriptions[name]}\n{name}" for name in order]
        panels[0].set_yticks(range(len(order)), labels, size=8)
    return figure
