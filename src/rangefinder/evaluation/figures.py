"""Figures of an evaluation."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure

from rangefinder.captures.manifest import CaptureSet
from rangefinder.common.figures import (
    BASELINE,
    DASHED,
    GRID,
    MARK,
    SETTINGS,
    VERMILION,
    distance_axis,
    model_colours,
    new_figure,
    percent_axis,
)
from rangefinder.config import Interval, Parameters
from rangefinder.evaluation.maps import Scene, close_up, side_by_side
from rangefinder.evaluation.metrics import Model
from rangefinder.evaluation.scoring import Curves, Evaluation
from rangefinder.models.distribution import INTERVAL_LEVELS

_SHARES = (1e-3, 0.3)  # ends of the colour scale
_BAND = (0.1, 0.9)  # quantiles of the predictions shown as a band


def draw_figures(
    captures: CaptureSet, models: Mapping[str, Model], evaluation: Evaluation, params: Parameters
) -> dict[str, Figure]:
    """All figures of an evaluation, by file name without suffix.

    `overview` (photo, truth, models, error and 80 % interval side by side),
    `capture_<number>_<scene>` (the same, large), `predicted_against_true`, `reliability`,
    `sparsification` and `error_by_distance`.
    """
    report_m = params.range.report_m
    with mpl.rc_context(SETTINGS):
        scenes = {
            index: _scene(captures, models, evaluation, index)
            for index in chosen_captures(evaluation, params)
        }
        figures = {"overview": side_by_side(list(scenes.values()), report_m)}
        for index, scene in scenes.items():
            name = re.sub(r"[^\w-]", "-", str(captures.table["scene"].iloc[index]))
            figures[f"capture_{index:03d}_{name}"] = close_up(scene, report_m)
        curves, summary = evaluation.curves, evaluation.summary
        figures["predicted_against_true"] = _predicted_against_true(curves, summary, report_m)
        figures["reliability"] = _reliability(summary)
        figures["sparsification"] = _sparsification(curves, summary)
        figures["error_by_distance"] = _error_by_distance(
            evaluation, report_m, captures.camera.focus_distance_m
        )
    return figures


def chosen_captures(evaluation: Evaluation, params: Parameters) -> list[int]:
    """Indices of the captures shown: real scenes, then best to worst in even steps.

    Args:
        evaluation: The scores; the last model's AbsRel ranks the captures.
        params: `evaluation.figures` is their number; `captures.real_scenes` names the real ones.
    """
    last = list(evaluation.curves)[-1]
    table = evaluation.per_image
    table = table[table["model"] == last].reset_index(drop=True)
    table = table[table["pixels"] > 0]
    real = table.index[table["scene"].isin(params.captures.real_scenes)].tolist()
    ranked = table.drop(index=real).sort_values("abs_rel", kind="stable").index.to_numpy()
    real = real[: params.evaluation.figures]
    room = min(params.evaluation.figures - len(real), len(ranked))
    steps = np.linspace(0, max(len(ranked) - 1, 0), room).round().astype(np.intp)
    return [*real, *(int(index) for index in ranked[steps])]


def _scene(
    captures: CaptureSet, models: Mapping[str, Model], evaluation: Evaluation, index: int
) -> Scene:
    name = str(captures.table["scene"].iloc[index])
    shown = [model for model in models if model != BASELINE] or list(models)
    row = evaluation.per_image.iloc[index * len(models) + len(models) - 1]
    return Scene(
        title=f"{name}, AbsRel {row['abs_rel']:.3f}",
        photo=np.asarray(captures.image(index), dtype=np.float32),
        truth_m=np.asarray(captures.distance_map(index), dtype=np.float32),
        predictions={model: models[model](index) for model in shown},
    )


def _predicted_against_true(
    curves: Mapping[str, Curves], summary: dict[str, Any], report_m: Interval
) -> Figure:
    """Distribution of predictions at each true distance; a panel per model but the baseline."""
    names = [name for name in curves if name != BASELINE] or list(curves)
    figure = new_figure(3.9 * len(names) + 1.0, 4.5)
    panels = figure.subplots(1, len(names), sharey=True, squeeze=False)[0]
    for axes, name in zip(panels, names, strict=True):
        histogram = curves[name].histogram
        seen = histogram.counts.sum(axis=1, keepdims=True)
        share = np.ma.masked_equal(histogram.counts / np.where(seen > 0, seen, 1.0), 0.0)
        edges = histogram.edges_m
        mesh = axes.pcolormesh(edges, edges, share.T, cmap="Blues", norm=LogNorm(*_SHARES))
        axes.plot(edges, edges, color="black", **DASHED, label="truth")
        middle = histogram.predicted_quantile_m(0.5)
        axes.plot(histogram.centres_m, middle, color=VERMILION, lw=1.8, label="median")
        for level in _BAND:
            band = histogram.predicted_quantile_m(level)
            label = "10 % and 90 %" if level == _BAND[0] else None
            axes.plot(histogram.centres_m, band, color=VERMILION, lw=1.3, ls=":", label=label)
        limits = (float(edges[0]), float(edges[-1]))
        distance_axis(axes, "x", report_m, "true distance")
        distance_axis(axes, "y", limits, "predicted distance")
        axes.label_outer()
        axes.set_aspect("equal", adjustable="box")
        abs_rel = summary["models"][name]["overall"]["abs_rel"]
        axes.set_title(f"{name}: AbsRel {abs_rel:.3f}")
    panels[0].legend(loc="upper left", fontsize=9)
    bar = figure.colorbar(mesh, ax=panels.tolist(), extend="both")
    bar.set_label("share of the pixels at that true distance")
    return figure


def _reliability(summary: dict[str, Any]) -> Figure:
    """Reliability diagram: coverage of the central intervals against their level."""
    figure = new_figure(5.2, 5.0)
    axes = figure.subplots()
    axes.plot([0, 1], [0, 1], color="black", **DASHED, label="perfect")
    colours = model_colours(list(summary["models"]))
    for name, model in summary["models"].items():
        found = [model["coverage"][str(level)] for level in INTERVAL_LEVELS]
        bounds = [model["ci95"][f"coverage_{level}"] for level in INTERVAL_LEVELS]
        ends = [
            [share, share] if low is None else [low, high]
            for share, (low, high) in zip(found, bounds, strict=True)
        ]
        low, high = np.asarray(ends).T
        axes.plot([0, *INTERVAL_LEVELS, 1], [0, *found, 1], color=colours[name], lw=1.5, label=name)
        spread = np.abs(np.stack([np.minimum(low, found), np.maximum(high, found)]) - found)
        axes.errorbar(INTERVAL_LEVELS, found, spread, fmt="o", ms=6, capsize=3, color=colours[name])
    axes.text(0.97, 0.05, "below: intervals too narrow", ha="right", fontsize=9, color=MARK)
    axes.set(xlim=(0, 1), ylim=(0, 1.01), aspect="equal")
    axes.grid(visible=True, color=GRID)
    percent_axis(axes, "x", "level of the interval")
    percent_axis(axes, "y", "interval coverage")
    axes.set_title("Reliability (bars: 95 % over scenes)")
    axes.legend(loc="upper left")
    return figure


def _sparsification(curves: Mapping[str, Curves], summary: dict[str, Any]) -> Figure:
    """Sparsification: error of the remaining pixels when the most uncertain are removed."""
    figure = new_figure(6.2, 4.4)
    axes = figure.subplots()
    colours = model_colours(list(curves))
    for name, curve in curves.items():
        line = curve.sparsification
        ause = summary["models"][name]["ause"]
        label = f"{name} (AUSE {ause:.3f})"
        axes.plot(line.removed, line.by_uncertainty, color=colours[name], label=label)
        axes.plot(line.removed, line.by_error, color=colours[name], lw=1.2, ls=":")
    axes.plot([], [], color=MARK, lw=1.2, ls=":", label="oracle: largest errors removed")
    axes.set(xlim=(0, 1), ylim=(0, None))
    axes.grid(visible=True, color=GRID)
    percent_axis(axes, "x", "most uncertain pixels removed")
    percent_axis(axes, "y", "mean relative error of the remaining pixels")
    axes.set_title("Sparsification")
    axes.legend(fontsize=9)
    return figure


def _error_by_distance(evaluation: Evaluation, report_m: Interval, focus_m: float) -> Figure:
    """Mean relative error at each true distance; markers are the scored distance bins."""
    figure = new_figure(6.6, 4.4)
    axes = figure.subplots()
    models = evaluation.summary["models"]
    colours = model_colours(list(models))
    highest = 0.0
    for name, model in models.items():
        histogram = evaluation.curves[name].histogram
        axes.plot(histogram.centres_m, histogram.abs_rel, color=colours[name], lw=1, alpha=0.6)
        _bin_markers(axes, model["by_distance_m"], colours[name], name)
        bins = [scores["abs_rel"] or 0.0 for scores in model["by_distance_m"].values()]
        highest = max(highest, *bins) if name != BASELINE or len(models) == 1 else highest
    if report_m[0] < focus_m < report_m[1]:
        axes.axvline(focus_m, color=MARK, **DASHED)
        corner = axes.get_xaxis_transform()
        axes.text(focus_m, 0.99, " in focus", va="top", color=MARK, fontsize=9, transform=corner)
    axes.set_ylim(0, 1.5 * highest or 1.0)
    axes.grid(visible=True, color=GRID)
    distance_axis(axes, "x", report_m, "true distance")
    percent_axis(axes, "y", "mean relative error")
    axes.set_title("Error by distance")
    axes.legend()
    return figure


def _bin_markers(axes: Axes, bins: dict[str, Any], colour: str, label: str) -> None:
    for name, scores in bins.items():
        if scores["abs_rel"] is None:
            continue
        near, far = map(float, name.split("-"))
        axes.hlines(scores["abs_rel"], near, far, colour, lw=3, label=label)
        label = ""  # once
