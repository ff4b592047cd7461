"""The figure of a lens's limits."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from rangefinder.config import Interval
from rangefinder.evaluation.style import GRID, SETTINGS, distance_axis, new_figure, percent_axis

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_COLOURS = ("#0072b2", "#009e73", "#d55e00", "#cc79a7", "#e69f00")
_LINES = {"strong grey": "-", "weak grey": "--", "strong coloured": "-.", "weak coloured": ":"}
_COIN = 0.5


def draw_limits(table: pd.DataFrame, working_m: Interval, focus_m: float, title: str) -> Figure:
    """Blur, bound and confusion against distance.

    Args:
        table: As from `optics.survey.survey`.
        working_m: Range of the axis [m].
        focus_m: Distance in focus [m].
        title: Of the whole figure.
    """
    import matplotlib as mpl

    with mpl.rc_context(SETTINGS):
        figure = new_figure(13.0, 4.6)
        figure.suptitle(title, x=0.01, ha="left")
        panels = figure.subplots(1, 3)
        _blur(panels[0], table)
        _bound(panels[1], table)
        _confusion(panels[2], table)
        for axes in panels:
            distance_axis(axes, "x", working_m, "distance [m]")
            axes.axvline(focus_m, color="#555555", lw=1, ls=(0, (4, 3)))
            axes.grid(visible=True, color=GRID)
    return figure


def _blur(axes: Axes, table: pd.DataFrame) -> None:
    one = table[table["texture"] == table["texture"].iloc[0]]
    for colour, (radius, rows) in zip(_COLOURS, one.groupby("radius"), strict=False):
        axes.plot(rows["distance_m"], rows["blur_px"], color=colour, label=f"radius {radius:.2f}")
    axes.set_ylim(bottom=0)
    axes.set_ylabel("diameter [px]")
    axes.set_title("Blur (disc of the same rms width)")
    axes.legend(title="half diagonal = 1")


def _bound(axes: Axes, table: pd.DataFrame) -> None:
    for name in ("strong grey", "weak grey"):
        some = table[table["texture"] == name]
        for colour, (radius, rows) in zip(_COLOURS, some.groupby("radius"), strict=False):
            label = name if radius == some["radius"].min() else None
            line = _LINES[name]
            axes.plot(rows["distance_m"], rows["sd_m"], line, color=colour, lw=1.6, label=label)
    axes.set_yscale("log")
    axes.set_ylabel("least standard deviation [m]")
    axes.set_title("Cramer-Rao bound, one patch")
    axes.legend()


def _confusion(axes: Axes, table: pd.DataFrame) -> None:
    for name in ("weak grey", "weak coloured", "strong grey"):
        some = table[table["texture"] == name]
        for colour, (radius, rows) in zip(_COLOURS, some.groupby("radius"), strict=False):
            label = name if radius == some["radius"].min() else None
            line = _LINES[name]
            share = np.asarray(rows["confusion"])
            axes.plot(rows["distance_m"], share, line, color=colour, lw=1.6, label=label)
    axes.axhline(_COIN, color="black", lw=1)
    axes.set_ylim(0, 1.1 * _COIN)
    percent_axis(axes, "y", "error probability (bound)")
    axes.set_title("Front and behind confused")
    axes.legend(loc="upper left")
