"""One look for all figures: colours that colour-blind people can tell apart, metres on the bars."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rangefinder.config import Interval

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

GREY = "#8a8a8a"
_DPI = 130
GRID = "#e6e6e6"
UNKNOWN = "#d9d9d9"
_PALETTE = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00")  # Okabe and Ito, 2008
_ROUND_M = (0.1, 0.2, 0.3, 0.5, 0.7, 1.0, 1.5, 2.0, 3.0, 4.0, 5.0, 7.0, 10.0, 20.0, 50.0, 100.0)
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
    colours = {name: _PALETTE[i % len(_PALETTE)] for i, name in enumerate(others)}
    return {name: colours.get(name, GREY) for name in names}


def distance_ticks_m(range_m: Interval) -> list[float]:
    """Round distances [m] within a range."""
    near, far = range_m
    return [distance for distance in _ROUND_M if near <= distance <= far]


def distance_axis(axes: Axes, which: str, range_m: Interval, label: str) -> None:
    """Make an axis logarithmic in metres, with round distances written out."""
    axis = axes.xaxis if which == "x" else axes.yaxis
    ticks = distance_ticks_m(range_m)
    if which == "x":
        axes.set_xscale("log")
        axes.set_xlim(*range_m)
    else:
        axes.set_yscale("log")
        axes.set_ylim(*range_m)
    axis.set_ticks(ticks, labels=[f"{tick:g}" for tick in ticks])
    axis.set_ticks([], minor=True)
    axis.set_label_text(label)


def percent_axis(axes: Axes, which: str, label: str) -> None:
    """Write shares as per cent."""
    from matplotlib.ticker import PercentFormatter

    axis = axes.xaxis if which == "x" else axes.yaxis
    axis.set_major_formatter(PercentFormatter(xmax=1.0, decimals=0))
    axis.set_label_text(label)
