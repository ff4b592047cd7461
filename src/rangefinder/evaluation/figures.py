"""Figures of an evaluation."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure

from rangefinder.camera import Camera
from rangefinder.captures.manifest import CaptureSet
from rangefinder.common.figures import (
    BASELINE,
    DASHED,
    GRID,
    MARK,
    SETTINGS,
    UNKNOWN,
    VERMILION,
    distance_axis,
    model_colours,
    new_figure,
    percent_axis,
)
from rangefinder.common.lengths import length_unit
from rangefinder.config import Interval, Parameters
from rangefinder.evaluation.maps import Scene, close_up, side_by_side
from rangefinder.evaluation.metrics import Double, Model
from rangefinder.evaluation.regions import SIDES
from rangefinder.evaluation.scoring import Curves, Evaluation
from rangefinder.evaluation.summary import MEAN_OVER_SD
from rangefinder.models.prediction import INTERVAL_LEVELS

_SHARES = (1e-3, 0.3)  # ends of the colour scale
_GROUP = 0.8  # width of a group of bars
_CAPTURE = "capture_"  # before the index, in names of figures
_DARK = 0.8  # share of the colour scale from which text is white
_BAND = (0.1, 0.9)  # quantiles of the predictions shown as a band


def draw_figures(
    captures: CaptureSet, models: Mapping[str, Model], evaluation: Evaluation, params: Parameters
) -> dict[str, Figure]:
    """All figures of an evaluation, by file name without suffix.

    `overview` (photo, truth, models, error and 80 % interval side by side),
    `capture_<number>_<scene>` (the same, large), `predicted_against_true`, `reliability`,
    `sparsification`, `error_by_distance`, `error_by_field_position`, and `defocus_sign` if a model
    predicts it.
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
            figures[f"{_CAPTURE}{index:03d}_{name}"] = close_up(scene, report_m)
        curves, summary = evaluation.curves, evaluation.summary
        figures["predicted_against_true"] = _predicted_against_true(curves, summary, report_m)
        figures["reliability"] = _reliability(summary)
        figures["sparsification"] = _sparsification(curves, summary)
        focus_m = captures.camera.focus_distance_m
        figures["error_by_distance"] = _errors_by_distance(evaluation, report_m, focus_m)
        figures["error_by_field_position"] = _error_by_field_position(evaluation, captures.camera)
        if any(model["defocus_sign"] for model in summary["models"].values()):
            figures["defocus_sign"] = _defocus_sign(evaluation)
    return figures


def capture_index(name: str) -> int | None:
    """Index of the capture that a figure of `draw_figures` shows large; None for other figures."""
    found = re.match(rf"{_CAPTURE}(\d+)_", name)
    return int(found[1]) if found else None


def draw_bound(
    crlb: dict[str, Any], distances_m: Double, sd_m: Mapping[str, Double], report_m: Interval
) -> Figure:
    """Mean error of strongly textured pixels, and what it would be at the Cramer-Rao bound.

    Args:
        crlb: `crlb_ratio` of evaluation.json.
        distances_m: `[D]` distances of the bound [m].
        sd_m: Per texture `[D]` Cramer-Rao lower bound of the standard deviation [m].
        report_m: Ends of the distance axis [m].
    """
    names = [name for name in crlb["models"] if name != BASELINE]
    inside = (distances_m >= report_m[0]) & (distances_m <= report_m[1])
    with mpl.rc_context(SETTINGS):
        figure = new_figure(6.6, 4.4)
        axes = figure.subplots()
        for (texture, sd), line in zip(sd_m.items(), ("-", "--"), strict=True):
            least = MEAN_OVER_SD * sd[inside]
            label = f"bound, {texture} texture"
            axes.plot(distances_m[inside], least, line, color=MARK, lw=1.5, label=label)
        for name, colour in model_colours(names).items():
            errors_m = {
                where: {"mae_m": ratio and ratio * crlb["bound_m"][where]}
                for where, ratio in crlb["models"][name].items()
            }
            _bin_markers(axes, errors_m, "mae_m", colour, f"{name}, strong texture")
        distance_axis(axes, "x", report_m, "true distance")
        unit = length_unit(report_m)
        axes.set(yscale="log", ylabel=f"mean error [{unit.name}]")
        axes.yaxis.set_major_formatter(lambda error_m, _: unit.text(error_m))
        axes.grid(visible=True, color=GRID)
        axes.set_title("Error, and the Cramer-Rao bound of one patch")
        figure.legend(loc="outside lower center", ncols=2, fontsize=9)
    return figure


def chosen_captures(evaluation: Evaluation, params: Parameters) -> list[int]:
    """Indices of the captures shown: real scenes, then best to worst in even steps.

    Where captures are photographed and simulated, about as many of each are, photographed ones
    first.

    Args:
        evaluation: The scores; the last model's AbsRel ranks the captures.
        params: `evaluation.figures` is their number; `captures.real_scenes` names the real ones.
    """
    last = list(evaluation.curves)[-1]
    table = evaluation.per_image
    table = table[table["model"] == last].reset_index(drop=True)
    table = table[table["pixels"] > 0]
    real = table.index[table["scene"].isin(params.captures.real_scenes)].tolist()
    ranked = table.drop(index=real).sort_values("abs_rel", kind="stable")
    chosen = real[: params.evaluation.figures]
    kinds = [own.index.to_numpy() for _, own in ranked.groupby("source")]  # photographed first
    for place, kind in enumerate(kinds):
        room = math.ceil((params.evaluation.figures - len(chosen)) / (len(kinds) - place))
        steps = np.linspace(0, len(kind) - 1, min(room, len(kind))).round().astype(np.intp)
        chosen += kind[steps].tolist()
    return chosen


def _scene(
    captures: CaptureSet, models: Mapping[str, Model], evaluation: Evaluation, index: int
) -> Scene:
    name = str(captures.table["scene"].iloc[index])
    shown = [model for model in models if model != BASELINE] or list(models)
    row = evaluation.per_image.iloc[index * len(models) + len(models) - 1]
    kind = f"{row['source']}, " if evaluation.source_curves else ""
    return Scene(
        title=f"{name}, {kind}AbsRel {row['abs_rel']:.3f}",
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


def _errors_by_distance(evaluation: Evaluation, report_m: Interval, focus_m: float) -> Figure:
    """Mean relative error at each true distance, a panel for all captures and for each source."""
    models = evaluation.summary["models"]
    parts = {"Error by distance": (models, evaluation.curves)}
    for source in reversed(list(evaluation.source_curves)):
        own = {name: model["by_source"][source] for name, model in models.items()}
        parts[f"{source.capitalize()} captures alone"] = own, evaluation.source_curves[source]
    figure = new_figure(6.6 * len(parts), 4.4)
    panels = figure.subplots(1, len(parts), squeeze=False)[0]
    for axes, (title, (scored, curves)) in zip(panels, parts.items(), strict=True):
        _error_by_distance(axes, scored, curves, report_m, focus_m)
        axes.set_title(title)
    return figure


def _error_by_distance(
    axes: Axes,
    models: dict[str, Any],
    curves: Mapping[str, Curves],
    report_m: Interval,
    focus_m: float,
) -> None:
    """Draw mean relative errors; markers are the scored distance bins."""
    colours = model_colours(list(models))
    highest = 0.0
    for name, model in models.items():
        histogram = curves[name].histogram
        axes.plot(histogram.centres_m, histogram.abs_rel, color=colours[name], lw=1, alpha=0.6)
        _bin_markers(axes, model["by_distance_m"], "abs_rel", colours[name], name)
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
    axes.legend()


def _error_by_field_position(evaluation: Evaluation, camera: Camera) -> Figure:
    """Mean relative error in each cell of the sensor; a panel per model but the baseline."""
    sensor, models = evaluation.sensor, evaluation.summary["models"]
    names = [name for name in sensor if name != BASELINE] or list(sensor)
    maps = {name: np.ma.masked_invalid(sensor[name].abs_rel) for name in names}
    highest = max(float(found.max()) for found in maps.values())
    figure = new_figure(5.2 * len(names) + 0.8, 0.5 + 5.2 * camera.height_px / camera.width_px)
    panels = figure.subplots(1, len(names), squeeze=False)[0]
    for axes, (name, found) in zip(panels, maps.items(), strict=True):
        image = axes.imshow(found, cmap="Oranges", vmin=0, vmax=highest)
        for (row, column), error in np.ndenumerate(found.filled(np.nan)):
            if np.isfinite(error):
                colour = "white" if error > _DARK * highest else "black"
                axes.text(column, row, f"{error:.0%}", ha="center", va="center", color=colour)
        axes.set(xticks=[], yticks=[], facecolor=UNKNOWN)
        axes.spines[:].set_visible(False)
        axes.set_aspect(camera.height_px / camera.width_px * found.shape[1] / found.shape[0])
        axes.set_title(f"{name}: AbsRel {models[name]['overall']['abs_rel']:.3f}")
    bar = figure.colorbar(image, ax=panels.tolist(), fraction=0.03, pad=0.02)
    percent_axis(bar.ax, "y", "mean relative error")
    return figure


def _defocus_sign(evaluation: Evaluation) -> Figure:
    """ROC curve of the predicted defocus sign; errors on both sides, and with it known."""
    models = evaluation.summary["models"]
    signs = {name: model["defocus_sign"] for name, model in models.items()}
    colours = model_colours(list(models))
    figure = new_figure(9.6, 4.4)
    curve, errors = figure.subplots(1, 2)
    curve.plot([0, 1], [0, 1], color="black", **DASHED, label="chance")
    for place, (name, model) in enumerate(models.items()):
        abs_rel = [model["by_side"][side]["abs_rel"] or 0.0 for side in SIDES]
        x = np.arange(len(SIDES)) + (place + 0.5) / len(models) * _GROUP - _GROUP / 2
        width = 0.9 * _GROUP / len(models)
        errors.bar(x, abs_rel, width, color=colours[name], label=name)
        if sign := signs[name]:
            known = [sign["abs_rel_if_known"][side] or 0.0 for side in SIDES]
            errors.hlines(known, x - width / 2, x + width / 2, "black", lw=2)
            area = "-" if sign["auc"] is None else f"{sign['auc']:.3f}"
            label = f"{name} (AUC {area})"
            curve.plot(*evaluation.sides[name].roc(), color=colours[name], label=label)
    errors.plot([], [], color="black", lw=2, label="if the side were known")
    curve.set(xlim=(0, 1), ylim=(0, 1.01), aspect="equal")
    percent_axis(curve, "x", "pixels behind the focus taken for before")
    percent_axis(curve, "y", "pixels before the focus found")
    curve.set_title("Predicted defocus sign")
    curve.legend(loc="lower right")
    errors.set_xticks(range(len(SIDES)), [f"{side} the focus" for side in SIDES])
    percent_axis(errors, "y", "mean relative error")
    errors.set_title("Error on either side")
    errors.legend()
    for axes in (curve, errors):
        axes.grid(visible=True, axis="y", color=GRID)
    return figure


def _bin_markers(axes: Axes, bins: dict[str, Any], score: str, colour: str, label: str) -> None:
    for name, scores in bins.items():
        if scores[score] is None:
            continue
        near, far = map(float, name.split("-"))
        axes.hlines(scores[score], near, far, colour, lw=3, label=label)
        label = ""  # once
