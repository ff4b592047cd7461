"""The benchmark in one figure: time by method, and cost by megapixels."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rangefinder.evaluation.speed import METHODS
from rangefinder.evaluation.style import GRID, model_colours, new_figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


def speed_figure(found: dict[str, Any]) -> Figure:
    """Draw the content of benchmark.json."""
    figure = new_figure(12.0, 4.6)
    left, right = figure.subplots(1, 2, width_ratios=(2, 1))
    _times(left, found)
    colours = model_colours(list(METHODS))
    for name, points in found["curve"]["points"].items():
        across = [point["megapixels"] for point in points]
        up = [point["seconds"] for point in points]
        power = found["curve"]["exponent"][name]
        label = name if power is None else f"{name}: pixels to the power {power:.2f}"
        right.plot(across, up, "o-", color=colours[name], label=label)
    right.set_xscale("log")
    right.set_yscale("log")
    right.set_xlabel("photo [megapixels]")
    right.set_ylabel("time [s]")
    right.grid(visible=True, color=GRID)
    right.set_title("Cost by size")
    right.legend(fontsize=9)
    return figure


def _times(axes: Axes, found: dict[str, Any]) -> None:
    cases = found["cases"]
    most = max(case["threads"] for case in cases)
    cases = [case for case in cases if case["threads"] == most]
    strides = sorted({case["stride_px"] for case in cases if case["stride_px"]}, reverse=True)
    sizes = list(dict.fromkeys((case["width_px"], case["height_px"]) for case in cases))
    groups = [(size, stride) for size in sizes for stride in strides]
    colours = model_colours(list(METHODS))
    width = 0.8 / len(METHODS)
    for place, method in enumerate(METHODS):
        for group, (size, stride) in enumerate(groups):
            case = _case(cases, method, size, stride)
            if case is None:
                continue
            left = group + (place - (len(METHODS) - 1) / 2) * width
            hatch = "//" if case["extrapolated"] else None
            axes.bar(left, case["seconds"], width, color=colours[method], hatch=hatch)
        axes.bar(0, 0, color=colours[method], label=method.replace("_", " "))
    axes.bar(0, 0, color="white", hatch="//", label="extrapolated")
    names = [f"{size[0]}x{size[1]}\nstride {stride}" for size, stride in groups]
    axes.set_xticks(range(len(groups)), names)
    axes.set_yscale("log")
    axes.set_ylabel("time of a photo [s]")
    axes.set_title(f"Time of a photo, {most} threads (student: every pixel, whatever the stride)")
    axes.legend(fontsize=9, ncols=5)


def _case(
    cases: list[dict[str, Any]], method: str, size: tuple[int, int], stride: int
) -> dict[str, Any] | None:
    for case in cases:
        here = (case["width_px"], case["height_px"]) == size
        if case["method"] == method and here and case["stride_px"] in (stride, None):
            return case
    return None
