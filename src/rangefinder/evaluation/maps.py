"""Images of one capture: photo, truth and predictions, side by side."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import cast

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure
from matplotlib.gridspec import GridSpec, SubplotSpec
from matplotlib.image import AxesImage

from rangefinder.common.figures import UNKNOWN, distance_ticks, new_figure
from rangefinder.config import Interval
from rangefinder.evaluation.metrics import Float
from rangefinder.models.prediction import REPORTED_LEVEL, Prediction

_WHITE_QUANTILE = 0.995  # of brightness; shown white
_DISPLAY_GAMMA = 2.2
_ERROR_LIMIT = 0.25  # ends of the colour scale; less in a range that is narrower
_INTERVAL_SHARE = 1.6  # of the scale of errors: end of that of half intervals over distance
_INTERVAL = f"{100 * REPORTED_LEVEL:.0f} % interval"
_PANEL_IN = 2.6
_BAR_IN = 0.1
_TITLE_IN = 0.18
_FOOT_IN = 0.75


@dataclass(frozen=True)
class Scene:
    """One capture, to be drawn."""

    title: str  # of its panels
    photo: Float  # `[3, H, W]` linear light
    truth_m: Float  # `[H, W]` true distance [m], 0 where unknown
    predictions: Mapping[str, Prediction]  # by model


def show_photo(axes: Axes, photo: Float) -> AxesImage:
    """Draw linear light `[3, H, W]`, gamma encoded."""
    picture = np.moveaxis(np.asarray(photo, dtype=np.float32), 0, -1)
    white = max(float(np.quantile(picture, _WHITE_QUANTILE)), 1e-6)
    return axes.imshow(np.clip(picture / white, 0, 1) ** (1 / _DISPLAY_GAMMA))


def show_distance(axes: Axes, distance_m: Float, range_m: Interval) -> AxesImage:
    """Draw a distance map: near is bright, steps of equal ratio are equal steps of colour."""
    known = np.ma.masked_where(~(distance_m > 0), distance_m)
    return axes.imshow(known, cmap="viridis_r", norm=LogNorm(*range_m))


def _error_limit(range_m: Interval) -> float:
    """End of the colour scale of relative errors within a range."""
    return min(_ERROR_LIMIT, range_m[1] / range_m[0] - 1)


def show_error(axes: Axes, distance_m: Float, truth_m: Float, range_m: Interval) -> AxesImage:
    """Draw the signed relative error: orange is too near, purple too far."""
    limit = _error_limit(range_m)
    known = (truth_m > 0) & np.isfinite(distance_m)
    error = np.ma.masked_where(~known, distance_m / np.where(truth_m > 0, truth_m, 1.0) - 1.0)
    return axes.imshow(error, cmap="PuOr", vmin=-limit, vmax=limit)


def show_interval(axes: Axes, prediction: Prediction, range_m: Interval) -> AxesImage:
    """Draw half the width of the 80 % interval relative to the distance: bright is narrow."""
    limit = _INTERVAL_SHARE * _error_limit(range_m)
    near, far = prediction.interval_m[REPORTED_LEVEL]
    half = np.ma.masked_invalid((far - near) / (2 * prediction.distance_m))
    return axes.imshow(half, cmap="cividis_r", vmin=0, vmax=limit)


def side_by_side(scenes: Sequence[Scene], range_m: Interval) -> Figure:
    """Photo, truth, every model, error and interval of the last one; distances within `range_m`."""
    names = list(scenes[0].predictions)
    last = names[-1]
    titles = ["photo", "truth", *names, f"{last}: error", f"{last}: {_INTERVAL}"]
    figure, grid, cells = _panels([_height_in(scene) for scene in scenes], len(titles))
    for row, scene in zip(grid, scenes, strict=True):
        show_photo(row[0], scene.photo)
        shown = show_distance(row[1], scene.truth_m, range_m)
        for axes, prediction in zip(row[2:-2], scene.predictions.values(), strict=True):
            show_distance(axes, prediction.distance_m, range_m)
        error = show_error(row[-2], scene.predictions[last].distance_m, scene.truth_m, range_m)
        interval = show_interval(row[-1], scene.predictions[last], range_m)
        row[0].set_ylabel(scene.title.replace(", ", "\n"), fontsize=8)
    for axes, title in zip(grid[0], titles, strict=True):
        axes.set_title(title)
    _colour_bars((shown, error, interval), (cells[-1, 1:-2], cells[-1, -2], cells[-1, -1]), range_m)
    return figure


def close_up(scene: Scene, range_m: Interval) -> Figure:
    """One capture, large: distance (within `range_m`), error and interval, a row per model."""
    names = list(scene.predictions)
    rows = max(len(names), 2)
    figure, grid, cells = _panels([_height_in(scene)] * rows, 4, zoom=1.3)
    show_photo(grid[0][0], scene.photo)
    shown = show_distance(grid[1][0], scene.truth_m, range_m)
    grid[0][0].set_title(scene.title)
    grid[1][0].set_title("truth")
    for row, name in zip(grid, names, strict=False):
        prediction = scene.predictions[name]
        show_distance(row[1], prediction.distance_m, range_m)
        error = show_error(row[2], prediction.distance_m, scene.truth_m, range_m)
        interval = show_interval(row[3], prediction, range_m)
        for axes, what in zip(row[1:], ("distance", "error", _INTERVAL), strict=True):
            axes.set_title(f"{name}: {what}")
    for axes in (panel for row in grid for panel in row):
        axes.set_visible(bool(axes.images))
    _colour_bars((shown, error, interval), (cells[-1, :2], cells[-1, 2], cells[-1, 3]), range_m)
    return figure


def _height_in(scene: Scene) -> float:
    height, width = scene.truth_m.shape
    return float(_PANEL_IN * height / width)


def _panels(
    heights_in: Sequence[float], columns: int, zoom: float = 1.0
) -> tuple[Figure, list[list[Axes]], GridSpec]:
    """A figure of empty panels with one more row of cells for colour bars."""
    ratios = [*heights_in, _BAR_IN]
    height = sum(heights_in) + (_TITLE_IN if zoom > 1 else 0.06) * len(heights_in) + _FOOT_IN
    figure = new_figure(zoom * _PANEL_IN * columns, zoom * height)
    cells = figure.add_gridspec(len(ratios), columns, height_ratios=ratios)
    grid = [
        [figure.add_subplot(cells[row, column]) for column in range(columns)]
        for row in range(len(heights_in))
    ]
    for axes in (panel for row in grid for panel in row):
        axes.set(xticks=[], yticks=[], facecolor=UNKNOWN)
        axes.spines[:].set_visible(False)
    return figure, grid, cells


def _colour_bars(
    images: Sequence[AxesImage], cells: Sequence[SubplotSpec], range_m: Interval
) -> None:
    """Colour bars of a distance map, an error map and an interval map, each in its cell."""
    distances, unit = distance_ticks(range_m)
    limit = _error_limit(range_m)
    errors = {share * limit: f"{100 * share * limit:+.2g} %" for share in (-0.8, 0.8)}
    halves = {share * limit: f"±{100 * share * limit:.2g} %" for share in (0.4, 0.8, 1.2)}
    bars = (
        (distances, "both", f"distance [{unit}]"),
        ({**errors, 0.0: "0"}, "both", "too near  |  error  |  too far"),
        (halves, "max", f"half the {_INTERVAL}, relative"),
    )
    for image, cell, (ticks, extend, label) in zip(images, cells, bars, strict=True):
        figure = cast("Figure", image.get_figure())
        panel = figure.add_subplot(cell)
        bar = figure.colorbar(image, cax=panel, orientation="horizontal", extend=extend)
        bar.set_ticks(list(ticks), labels=list(ticks.values()))
        bar.ax.set_xticks([], minor=True)
        bar.outline.set_visible(False)
        bar.set_label(label)
