"""Style of all figures: colours that colour-blind people can tell apart, axes in metres."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

from rangefinder.common.lengths import length_unit, round_distances_m

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Interval = tuple[float, float]
GREY = "#8a8a8a"
MARK = "#555555"  # of lines and notes that are no model's
GRID = "#e6e6e6"
UNKNOWN = "#d9d9d9"
BLUE, VERMILION, GREEN = "#0072b2", "#d55e00", "#009e73"
PALETTE = (BLUE, VERMILION, GREEN, "#cc79a7", "#e69f00")  # Okabe and Ito, 2008
DASHED: Any = {"lw": 1, "ls": (0, (4, 3))}
_DPI = 130
SMALL_SHARE = 0.04  # whole per cents are too coarse below
BASELINE = "constant"

SETTINGS: Any = {  # rc_context wants a literal type of hundreds of keys
    "axes.titlesize": 11,
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "legend.frameon": False,
    "lines.linewidth": 2.0,
    "image.interpolation": "nearest",
}


def new_figure(width_in: float, height_in: float) -> Figure:
    """An empty figure that belongs to no window and to no global state."""
    from matplotlib.figure import Figure

    return Figure(figsize=(width_in, height_in), dpi=_DPI, layout="constrained")


def model_colours(names: list[str]) -> dict[str, str]:
    """A colour per model; the baseline is grey."""
    others = [name for name in names if name != BASELINE]
    colours = {name: PALETTE[i % len(PALETTE)] for i, name in enumerate(others)}
    return {name: colours.get(name, GREY) for name in names}


def distance_ticks(range_m: Interval) -> tuple[dict[float, str], str]:
    """Round distances [m] within a range with their labels, and the unit of the labels."""
    unit = length_unit(range_m)
    return {tick: unit.text(tick) for tick in round_distances_m(range_m)}, unit.name


def distance_axis(axes: Axes, which: Literal["x", "y"], range_m: Interval, label: str) -> None:
    """Make an axis logarithmic in distance [m], with round distances and their unit written out."""
    axis = axes.xaxis if which == "x" else axes.yaxis
    ticks, unit = distance_ticks(range_m)
    axes.set(**{f"{which}scale": "log", f"{which}lim": range_m})
    axis.set_ticks(list(ticks), labels=list(ticks.values()))
    axis.set_ticks([], minor=True)
    axis.set_label_text(f"{label} [{unit}]")


def percent_axis(axes: Axes, which: Literal["x", "y"], label: str) -> None:
    """Write shares as per cent."""
    from matplotlib.ticker import PercentFormatter

    axis = axes.xaxis if which == "x" else axes.yaxis
    highest = max(abs(end) for end in axis.get_view_interval())
    decimals = 0 if highest > SMALL_SHARE else 1
    axis.set_major_formatter(PercentFormatter(xmax=1.0, decimals=decimals))
    axis.set_label_text(label)
