"""Figures drawn before any training: coverage and quality of captures, identifiability."""

from __future__ import annotations

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from rangefinder.camera import Camera
from rangefinder.captures.checks import Findings, SharpnessCurve
from rangefinder.charts.distances import coverage
from rangefinder.common.figures import (
    BLUE,
    DASHED,
    GREY,
    GRID,
    MARK,
    PALETTE,
    SETTINGS,
    VERMILION,
    distance_axis,
    new_figure,
    percent_axis,
)
from rangefinder.common.lengths import LengthUnit, length_unit
from rangefinder.config import Interval
from rangefinder.optics.blur import blur_px

_LINES = {"strong grey": "-", "weak grey": "--", "strong coloured": "-.", "weak coloured": ":"}
_COIN = 0.5


def capture_figures(findings: Findings, camera: Camera, working_m: Interval) -> dict[str, Figure]:
    """Figures of the findings, by file name without suffix; distances over `working_m`."""
    with mpl.rc_context(SETTINGS):
        figures = {"distance_coverage": _coverage(findings, camera, working_m)}
        if len(findings.places):
            figures["sharpness"] = _sharpness(findings, camera, working_m)
        if findings.brightest:
            figures["exposure"] = _exposure(findings)
    return figures


def draw_limits(table: pd.DataFrame, working_m: Interval, focus_m: float, title: str) -> Figure:
    """Blur, Cramer-Rao bound and front/back ambiguity of an identifiability table."""
    with mpl.rc_context(SETTINGS):
        figure = new_figure(13.0, 4.6)
        figure.suptitle(title, x=0.01, ha="left")
        panels = figure.subplots(1, 3)
        _blur(panels[0], table)
        _bound(panels[1], table, length_unit(working_m))
        _confusion(panels[2], table)
        for axes in panels:
            distance_axis(axes, "x", working_m, "distance")
            axes.axvline(focus_m, color=MARK, **DASHED)
            axes.grid(visible=True, color=GRID)
    return figure


def _coverage(findings: Findings, camera: Camera, working_m: Interval) -> Figure:
    figure = new_figure(7.0, 4.0)
    axes = figure.add_subplot()
    distance_m = np.geomspace(*working_m, 300)
    axes.plot(distance_m, blur_px(camera, distance_m), color=GREY, label="thin lens")
    taken = np.array(findings.chart_distances_m)
    if taken.size:
        axes.plot(taken, blur_px(camera, taken), "o", color=BLUE, label="charts")
        for near, far in coverage(camera, taken, working_m).missing:
            axes.axvspan(near, far, color=VERMILION, alpha=0.15, lw=0)
    if len(findings.places):
        shares, bins = axes.twinx(), np.geomspace(*working_m, 40).tolist()
        shares.hist(np.clip(findings.places[:, 0], *working_m), bins=bins, color=BLUE, alpha=0.2)
        shares.set_ylabel("textured places")
    distance_axis(axes, "x", working_m, "distance")
    axes.set_ylabel("blur circle [px]")
    axes.set_title("Chart distances and their blur (red: gaps over which blur changes)")
    axes.legend()
    return figure


def _sharpness(findings: Findings, camera: Camera, working_m: Interval) -> Figure:
    figure = new_figure(7.0, 4.0)
    axes = figure.add_subplot()
    curve = SharpnessCurve.of(findings.places)
    axes.fill_between(curve.distance_m, curve.low, curve.high, color=BLUE, alpha=0.2, lw=0)
    axes.plot(curve.distance_m, curve.sharpness, "o-", color=BLUE)
    axes.axvline(camera.focus_distance_m, color=GREY, ls=":", label="focus of the camera record")
    distance_axis(axes, "x", working_m, "distance")
    axes.set(ylim=(0, None), ylabel="fine / coarse detail")
    axes.set_title("Sharpness against distance: median and quartiles")
    axes.legend()
    return figure


def _exposure(findings: Findings) -> Figure:
    figure = new_figure(7.0, 3.0)
    axes = figure.add_subplot()
    axes.hist(list(findings.brightest.values()), bins=np.linspace(0, 1, 41).tolist(), color=BLUE)
    percent_axis(axes, "x", "brightest light of a photo / full scale")
    axes.set(ylabel="photos", title="Exposure")
    return figure


def _blur(axes: Axes, table: pd.DataFrame) -> None:
    one = table[table["texture"] == table["texture"].iloc[0]]
    for colour, (radius, rows) in zip(PALETTE, one.groupby("radius"), strict=False):
        axes.plot(rows["distance_m"], rows["blur_px"], color=colour, label=f"radius {radius:.2f}")
    axes.set(ylim=(0, None), ylabel="diameter [px]", title="Blur (disc of the same rms width)")
    axes.legend(title="half diagonal = 1")


def _bound(axes: Axes, table: pd.DataFrame, unit: LengthUnit) -> None:
    shown = table.assign(sd_m=table["sd_m"] * unit.per_m)
    _by_texture(axes, shown, "sd_m", ("strong grey", "weak grey"))
    axes.set(yscale="log", ylabel=f"least standard deviation [{unit.name}]")
    axes.set_title("Cramer-Rao bound, one patch")
    axes.legend()


def _confusion(axes: Axes, table: pd.DataFrame) -> None:
    _by_texture(axes, table, "confusion", ("weak grey", "weak coloured", "strong grey"))
    axes.axhline(_COIN, color="black", lw=1)
    axes.set(ylim=(0, 1.1 * _COIN), title="Front/back ambiguity")
    percent_axis(axes, "y", "error probability (bound)")
    axes.legend(loc="upper left")


def _by_texture(axes: Axes, table: pd.DataFrame, column: str, textures: tuple[str, ...]) -> None:
    """A line per texture and field position (by colour)."""
    for name in textures:
        some = table[table["texture"] == name]
        for colour, (radius, rows) in zip(PALETTE, some.groupby("radius"), strict=False):
            label = name if radius == some["radius"].min() else None
            line = _LINES[name]
            axes.plot(rows["distance_m"], rows[column], line, color=colour, lw=1.6, label=label)
