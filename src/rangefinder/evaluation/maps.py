"""Pictures of one capture: photo, truth and what the models say, side by side."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from rangefinder.config import Interval
from rangefinder.evaluation.metrics import Float, Ranging
from rangefinder.evaluation.style import UNKNOWN, distance_ticks_m, new_figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.gridspec import GridSpec
    from matplotlib.image import AxesImage

_WHITE_QUANTILE = 0.995  # this brightness is shown white
_DISPLAY_GAMMA = 2.2
_ERROR_LIMIT = 0.25  # errors and half intervals beyond are shown in the end colours
_INTERVAL_LIMIT = 0.4
_CONFIDENCE_LEVEL = 0.8
_PANEL_IN = 2.6
_BAR_IN = 0.1
_TITLE_IN = 0.18
_FOOT_IN = 0.75


@dataclass(frozen=True)
class Scene:
    """What is drawn of one capture.

    Attributes:
        title: What the capture is called.
        photo: `[3, H, W]` linear light.
        truth_m: `[H, W]` true distance [m], 0 where unknown.
        rangings: The models' answers.
    """

    title: str
    photo: Float
    truth_m: Float
    rangings: Mapping[str, Ranging]


def show_photo(axes: Axes, photo: Float) -> AxesImage:
    """Draw linear light `[3, H, W]` as the eye expects it."""
    picture = np.moveaxis(np.asarray(photo, dtype=np.float32), 0, -1)
    white = max(float(np.quantile(picture, _WHITE_QUANTILE)), 1e-6)
    return axes.imshow(np.clip(picture / white, 0, 1) ** (1 / _DISPLAY_GAMMA))


def show_distance(axes: Axes, distance_m: Float, range_m: Interval) -> AxesImage:
    """Draw a distance map: near is bright, steps of equal ratio are equal steps of colour."""
    from matplotlib.colors import LogNorm

    known = np.ma.masked_where(~(distance_m > 0), distance_m)
    return axes.imshow(known, cmap="viridis_r", norm=LogNorm(*range_m))


def show_error(axes: Axes, distance_m: Float, truth_m: Float) -> AxesImage:
    """Draw the signed relative error: orange is too near, purple too far."""
    known = (truth_m > 0) & np.isfinite(distance_m)
    error = np.ma.masked_where(~known, distance_m / np.where(truth_m > 0, truth_m, 1.0) - 1.0)
    return axes.imshow(error, cmap="PuOr", vmin=-_ERROR_LIMIT, vmax=_ERROR_LIMIT)


def show_confidence(axes: Axes, ranging: Ranging) -> AxesImage:
    """Draw half the 80 % interval relative to the distance: bright is sure."""
    near, far = ranging.interval_m[_CONFIDENCE_LEVEL]
    half = np.ma.masked_invalid((far - near) / (2 * ranging.distance_m))
    return axes.imshow(half, cmap="cividis_r", vmin=0, vmax=_INTERVAL_LIMIT)


def side_by_side(scenes: Sequence[Scene], range_m: Interval) -> Figure:
    """Photo, truth, every model, and error and confidence of the last one; a row per capture.

    Args:
        scenes: The captures.
        range_m: Distances of the colour scale [m].
    """
    names = list(scenes[0].rangings)
    last = names[-1]
    titles = ["photo", "truth", *names, f"{last}: error", f"{last}: confidence"]
    figure, grid, cells = _panels([_height_in(scene) for scene in scenes], len(titles))
    for row, scene in zip(grid, scenes, strict=True):
        show_photo(row[0], scene.photo)
        shown = show_distance(row[1], scene.truth_m, range_m)
        for axes, ranging in zip(row[2:-2], scene.rangings.values(), strict=True):
            show_distance(axes, ranging.distance_m, range_m)
        error = show_error(row[-2], scene.rangings[last].distance_m, scene.truth_m)
        sure = show_confidence(row[-1], scene.rangings[last])
        row[0].set_ylabel(scene.title.replace(", ", "\n"), fontsize=8)
    for axes, title in zip(grid[0], titles, strict=True):
        axes.set_title(title)
    _distance_bar(figure.add_subplot(cells[-1, 1:-2]), shown, range_m)
    _error_bar(figure.add_subplot(cells[-1, -2]), error)
    _confidence_bar(figure.add_subplot(cells[-1, -1]), sure)
    return figure


def close_up(scene: Scene, range_m: Interval) -> Figure:
    """One capture, large: distance, error and confidence, a row per model.

    Args:
        scene: The capture.
        range_m: Distances of the colour scale [m].
    """
    names = list(scene.rangings)
    rows = max(len(names), 2)
    figure, grid, cells = _panels([_height_in(scene)] * rows, 4, zoom=1.3)
    show_photo(grid[0][0], scene.photo)
    shown = show_distance(grid[1][0], scene.truth_m, range_m)
    grid[0][0].set_title(scene.title)
    grid[1][0].set_title("truth")
    for row, name in zip(grid, names, strict=False):
        ranging = scene.rangings[name]
        show_distance(row[1], ranging.distance_m, range_m)
        error = show_error(row[2], ranging.distance_m, scene.truth_m)
        sure = show_confidence(row[3], ranging)
        for axes, what in zip(row[1:], ("distance", "error", "confidence"), strict=True):
            axes.set_title(f"{name}: {what}")
    for axes in (panel for row in grid for panel in row):
        axes.set_visible(bool(axes.images))
    _distance_bar(figure.add_subplot(cells[-1, :2]), shown, range_m)
    _error_bar(figure.add_subplot(cells[-1, 2]), error)
    _confidence_bar(figure.add_subplot(cells[-1, 3]), sure)
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
        axes.set_xticks([])
        axes.set_yticks([])
        axes.set_facecolor(UNKNOWN)
        axes.spines[:].set_visible(False)
    return figure, grid, cells


def _bar(axes: Axes, image: AxesImage, ticks: Mapping[float, str], extend: str, label: str) -> None:
    figure = axes.get_figure()
    if figure is not None:
        bar = figure.colorbar(image, cax=axes, orientation="horizontal", extend=extend)
        bar.set_ticks(list(ticks), labels=list(ticks.values()))
        bar.ax.set_xticks([], minor=True)
        bar.outline.set_visible(False)
        bar.set_label(label)


def _distance_bar(axes: Axes, image: AxesImage, range_m: Interval) -> None:
    ticks = {tick: f"{tick:g}" for tick in distance_ticks_m(range_m)}
    _bar(axes, image, ticks, "both", "distance [m]")


def _error_bar(axes: Axes, image: AxesImage) -> None:
    marks = (-0.2, 0.0, 0.2)
    ticks = {mark: f"{100 * mark:+.0f} %" if mark else "0" for mark in marks}
    _bar(axes, image, ticks, "both", "too near  |  error  |  too far")


def _confidence_bar(axes: Axes, image: AxesImage) -> None:
    ticks = {mark: f"±{100 * mark:.0f} %" for mark in (0.1, 0.2, 0.3)}
    level = f"{100 * _CONFIDENCE_LEVEL:.0f} %"
    _bar(axes, image, ticks, "max", f"sure  |  {level} interval  |  unsure")
