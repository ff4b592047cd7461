"""Curves over the whole evaluation: truth against prediction, reliability, sparsification."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from rangefinder.config import Interval
from rangefinder.evaluation.metrics import LEVELS
from rangefinder.evaluation.style import (
    BASELINE,
    GRID,
    distance_axis,
    model_colours,
    new_figure,
    percent_axis,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from rangefinder.evaluation.score import Curves, Evaluation

_SHARES = (1e-3, 0.3)
_BAND = (0.1, 0.9)  # quantiles of the predictions shown as a band


def predicted_against_true(
    curves: Mapping[str, Curves], summary: dict[str, Any], report_m: Interval
) -> Figure:
    """How predictions spread at each true distance; a panel per model, the baseline left out."""
    from matplotlib.colors import LogNorm

    names = [name for name in curves if name != BASELINE] or list(curves)
    figure = new_figure(3.9 * len(names) + 1.0, 4.5)
    panels = figure.subplots(1, len(names), sharey=True, squeeze=False)[0]
    for axes, name in zip(panels, names, strict=True):
        joint = curves[name].joint
        seen = joint.counts.sum(axis=1, keepdims=True)
        share = np.ma.masked_equal(joint.counts / np.where(seen > 0, seen, 1.0), 0.0)
        edges = joint.edges_m
        mesh = axes.pcolormesh(edges, edges, share.T, cmap="Blues", norm=LogNorm(*_SHARES))
        axes.plot(edges, edges, color="black", lw=1, ls=(0, (4, 3)), label="truth")
        middle = joint.predicted_quantile_m(0.5)
        axes.plot(joint.centres_m, middle, color="#d55e00", lw=1.8, label="median")
        for level in _BAND:
            band = joint.predicted_quantile_m(level)
            label = "10 % and 90 %" if level == _BAND[0] else None
            axes.plot(joint.centres_m, band, color="#d55e00", lw=1.3, ls=":", label=label)
        limits = (float(edges[0]), float(edges[-1]))
        distance_axis(axes, "x", report_m, "true distance [m]")
        distance_axis(axes, "y", limits, "predicted distance [m]")
        axes.label_outer()
        axes.set_aspect("equal", adjustable="box")
        abs_rel = summary["models"][name]["overall"]["abs_rel"]
        axes.set_title(f"{name}: AbsRel {abs_rel:.3f}")
    panels[0].legend(loc="upper left", fontsize=9)
    bar = figure.colorbar(mesh, ax=panels.tolist(), extend="both")
    bar.set_label("share of the pixels at that true distance")
    return figure


def reliability(summary: dict[str, Any]) -> Figure:
    """Share of truths within the central intervals against the share that should be."""
    figure = new_figure(5.2, 5.0)
    axes = figure.subplots()
    axes.plot([0, 1], [0, 1], color="black", lw=1, ls=(0, (4, 3)), label="perfect")
    colours = model_colours(list(summary["models"]))
    for name, model in summary["models"].items():
        found = [model["coverage"][str(level)] for level in LEVELS]
        bounds = [model["ci95"][f"coverage_{level}"] for level in LEVELS]
        ends = [
            [share, share] if low is None else [low, high]
            for share, (low, high) in zip(found, bounds, strict=True)
        ]
        low, high = np.asarray(ends).T
        axes.plot([0, *LEVELS, 1], [0, *found, 1], color=colours[name], lw=1.5, label=name)
        spread = np.abs(np.stack([np.minimum(low, found), np.maximum(high, found)]) - found)
        axes.errorbar(LEVELS, found, spread, fmt="o", ms=6, capsize=3, color=colours[name])
    axes.text(0.97, 0.05, "below the diagonal: too sure", ha="right", fontsize=9, color="#555555")
    axes.set_xlim(0, 1)
    axes.set_ylim(0, 1.01)
    axes.set_aspect("equal")
    axes.grid(visible=True, color=GRID)
    percent_axis(axes, "x", "interval's level")
    percent_axis(axes, "y", "truths within the interval")
    axes.set_title("Reliability (bars: 95 % over scenes)")
    axes.legend(loc="upper left")
    return figure


def sparsification(curves: Mapping[str, Curves], summary: dict[str, Any]) -> Figure:
    """Error of what is left when the pixels the model is least sure of are taken away."""
    figure = new_figure(6.2, 4.4)
    axes = figure.subplots()
    colours = model_colours(list(curves))
    for name, curve in curves.items():
        line = curve.sparsification
        ause = summary["models"][name]["ause"]
        label = f"{name} (AUSE {ause:.3f})"
        axes.plot(line.removed, line.by_uncertainty, color=colours[name], label=label)
        axes.plot(line.removed, line.by_error, color=colours[name], lw=1.2, ls=":")
    axes.plot([], [], color="#555555", lw=1.2, ls=":", label="oracle of each")
    axes.set_xlim(0, 1)
    axes.set_ylim(bottom=0)
    axes.grid(visible=True, color=GRID)
    percent_axis(axes, "x", "least certain pixels taken away")
    percent_axis(axes, "y", "mean relative error of the rest")
    axes.set_title("Sparsification")
    axes.legend(fontsize=9)
    return figure


def error_by_distance(evaluation: Evaluation, report_m: Interval, focus_m: float) -> Figure:
    """Mean relative error at each true distance; markers are the scored distance bins."""
    figure = new_figure(6.6, 4.4)
    axes = figure.subplots()
    models = evaluation.summary["models"]
    colours = model_colours(list(models))
    highest = 0.0
    for name, model in models.items():
        joint = evaluation.curves[name].joint
        axes.plot(joint.centres_m, joint.abs_rel, color=colours[name], lw=1, alpha=0.6)
        _bin_markers(axes, model["by_distance_m"], colours[name], name)
        bins = [scores["abs_rel"] or 0.0 for scores in model["by_distance_m"].values()]
        highest = max(highest, *bins) if name != BASELINE or len(models) == 1 else highest
    if report_m[0] < focus_m < report_m[1]:
        axes.axvline(focus_m, color="#555555", lw=1, ls=(0, (4, 3)))
        axes.text(focus_m, 0.99, " in focus", va="top", color="#555555", fontsize=9,
                  transform=axes.get_xaxis_transform())  # fmt: skip
    axes.set_ylim(0, 1.5 * highest or 1.0)
    axes.grid(visible=True, color=GRID)
    distance_axis(axes, "x", report_m, "true distance [m]")
    percent_axis(axes, "y", "mean relative error")
    axes.set_title("Error by distance")
    axes.legend()
    return figure


def _bin_markers(axes: Axes, bins: dict[str, Any], colour: str, label: str) -> None:
    for place, (name, scores) in enumerate(bins.items()):
        if scores["abs_rel"] is None:
            continue
        near, far = (float(edge) for edge in name.split("-"))
        axes.plot(
            [near, far],
            [scores["abs_rel"]] * 2,
            color=colour,
            lw=3,
            solid_capstyle="butt",
            label=label if place == 0 else None,
        )
