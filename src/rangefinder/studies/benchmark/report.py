"""Report of the benchmark: records, ratios, the table and the figure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, TextIO

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from rich.console import RenderableType
from rich.table import Table

from rangefinder.common.figures import GRID, model_colours, new_figure
from rangefinder.common.page import Grid, Picture, Section
from rangefinder.common.timing import Timing
from rangefinder.evaluation.report import print_parts, text_table

PATCH_LOOP, MONAI, DENSE, STUDENT = "patch_loop", "monai", "dense", "student"
METHODS = (PATCH_LOOP, MONAI, DENSE, STUDENT)
FRAMES = "student_frames_per_s_480x360"
_EXTRAPOLATED = "~ extrapolated from a sample of patches"
FRAME_PX = (480, 360)
BEST_RUNTIMES = "student_vs_dense_best_runtimes"
PERCENTILES = (50, 95, 99)  # of the latency of a stream
FINE, USUAL = 1, 4  # strides that the ratios are named after


@dataclass(frozen=True)
class Setting:
    """One of `METHODS`, (width, height) of the photo, stride (None: student), CPU threads."""

    method: str
    size_px: tuple[int, int]
    stride_px: int | None
    threads: int


@dataclass(frozen=True)
class Case:
    """One measurement."""

    setting: Setting  # its setting
    timing: Timing  # for the whole photo
    extrapolated: bool  # whether a sample of patches was timed and scaled by count
    multiply_adds: int  # for the whole photo
    share_of_matmul: float  # multiply-adds per second / those of a large matrix product
    peak_bytes: int | None  # memory beyond what was held before; of the sample where extrapolated

    def record(self) -> dict[str, Any]:
        """The case for JSON."""
        setting = self.setting
        return {
            "method": setting.method,
            "width_px": setting.size_px[0],
            "height_px": setting.size_px[1],
            "stride_px": setting.stride_px,
            "threads": setting.threads,
            **asdict(self.timing),
            "extrapolated": self.extrapolated,
            "multiply_adds": self.multiply_adds,
            "multiply_adds_per_s": self.multiply_adds / self.timing.seconds,
            "share_of_matmul": self.share_of_matmul,
            "peak_bytes": self.peak_bytes,
        }


def ratios(
    cases: Iterable[Case], size_px: tuple[int, int], threads: int, epochs: Mapping[str, float]
) -> dict[str, float | None]:
    """Ratios of times: `X_vs_Y` is time of Y / time of X; None where one was not measured.

    Args:
        cases: All cases.
        size_px: Size of the photo.
        threads: CPU threads.
        epochs: Seconds of an epoch by the source of its targets.
    """
    seconds = {
        (case.setting.method, case.setting.stride_px): case.timing.seconds
        for case in cases
        if case.setting.size_px == size_px and case.setting.threads == threads
    }

    def faster(one: tuple[str, int | None], other: tuple[str, int | None]) -> float | None:
        return _ratio(seconds.get(other), seconds.get(one))

    student, dense = (STUDENT, None), (DENSE, USUAL)
    cached = epochs.get("cached")
    return {
        "dense_vs_patch_loop_stride4": faster(dense, (PATCH_LOOP, USUAL)),
        "dense_vs_monai_stride4": faster(dense, (MONAI, USUAL)),
        "dense_vs_patch_loop_stride1": faster((DENSE, FINE), (PATCH_LOOP, FINE)),
        "student_vs_dense_stride4": faster(student, dense),
        "student_vs_patch_loop_stride4": faster(student, (PATCH_LOOP, USUAL)),
        "cached_epoch_vs_online_loop_epoch": _ratio(epochs.get("online_loop"), cached),
        "cached_epoch_vs_online_dense_epoch": _ratio(epochs.get("online_dense"), cached),
        "fixed_target_epoch_vs_cached_epoch": _ratio(cached, epochs.get("fixed")),
    }


def frames_per_s(cases: Iterable[Case], threads: int) -> float | None:
    """Photos of 480x360 that the student predicts per second."""
    setting = Setting(STUDENT, FRAME_PX, None, threads)
    seconds = (case.timing.seconds for case in cases if case.setting == setting)
    return _ratio(1.0, next(seconds, None))


def ratio_of_best(runtimes: Mapping[str, Mapping[str, float]]) -> float | None:
    """Time of the dense pass / the student's, a distance at every pixel, each by its best runtime.

    `runtimes` are seconds by method and runtime.
    """
    dense, student = (min(runtimes[name].values(), default=None) for name in (DENSE, STUDENT))
    return _ratio(dense, student)


def exponent(points: Sequence[Mapping[str, float]]) -> float | None:
    """Exponent of time as a power of the number of pixels; 1 is linear."""
    if len(points) < 2:
        return None
    pixels = np.log([point["megapixels"] for point in points])
    return float(np.polyfit(pixels, np.log([point["seconds"] for point in points]), 1)[0])


def _ratio(upper: float | None, lower: float | None) -> float | None:
    return None if upper is None or not lower else upper / lower


def print_speed(results: dict[str, Any], stream: TextIO | None = None) -> None:
    """Write times, work and ratios.

    Args:
        results: Content of benchmark.json.
        stream: Standard output by default.
    """
    parts: list[RenderableType] = [
        f"Benchmark on {_machine(results)}",
        _case_table(results["cases"]),
        _EXTRAPOLATED,
        _ratio_table(results),
        _frames(results),
        _epoch_table(results),
        _runtime_table(results),
        _stream(results),
        _large_table(results),
        _cost_table(results),
        *(f"* {note}" for note in results["notes"]),
    ]
    print_parts(parts, stream)


def section(results: dict[str, Any], figure: bytes | None) -> Section:
    """The same for a page.

    Args:
        results: Content of benchmark.json.
        figure: PNG of `speed_figure`, if there is one.
    """
    alt = (
        f"Bars of the time of a photo by each method, and its growth with size. {_frames(results)}"
    )
    return Section(
        "Speed",
        [
            f"On {_machine(results)}: {_frames(results)}; {_stream(results)}.",
            *([Picture(figure, alt)] if figure else []),
            Grid(_ratio_table(results), "How many times faster the first is than the second"),
            Grid(_runtime_table(results), "Time of a photo by each runtime"),
            Grid(_case_table(results["cases"]), f"Time of a photo by each method; {_EXTRAPOLATED}"),
            Grid(_large_table(results), "Large photos: time and memory"),
            Grid(_cost_table(results), "Where the time of a run goes"),
            *results["notes"],
        ],
    )


def _machine(results: dict[str, Any]) -> str:
    machine = results["machine"]
    return f"{machine['gpu'] or machine['processor']}, {machine['cores']} cores"


def _frames(results: dict[str, Any]) -> str:
    return f"student: {_number(results[FRAMES])} frames/s at 480x360, all threads"


def _stream(results: dict[str, Any]) -> str:
    stream = results["stream"]
    times = ", ".join(f"{1e3 * stream[f'p{p}_s']:.1f} ms (p{p})" for p in PERCENTILES)
    return (
        f"stream of {stream['frames']:.0f} JPEGs, decoding included: "
        f"{stream['frames_per_s']:.3g} frames/s; a frame takes {times}"
    )


def _ratio_table(results: dict[str, Any]) -> Table:
    ratios = [(_words(name), _number(value, "x")) for name, value in results["ratios"].items()]
    return text_table(["ratio of times", "times faster"], ratios)


def _epoch_table(results: dict[str, Any]) -> Table:
    epochs = results["epochs"]["seconds"]
    rows = [(_words(name), f"{seconds:.1f}") for name, seconds in epochs.items()]
    return text_table(["epoch with targets", "seconds"], rows)


def _runtime_table(results: dict[str, Any]) -> Table:
    runtimes = [
        (_words(method), name, f"{1e3 * seconds:.1f}")
        for method, times in results["runtimes"].items()
        for name, seconds in times.items()
    ]
    return text_table(["a distance at every pixel", "runtime", "ms"], runtimes)


def _large_table(results: dict[str, Any]) -> Table:
    large = [
        (f"{one['megapixels']:.0f}", f"{one['seconds']:.1f}", _mebibytes(one["peak_bytes"]))
        for one in results["large_photos"]
    ]
    return text_table(["student, megapixels", "seconds", "MiB"], large)


def _cost_table(results: dict[str, Any]) -> Table:
    total = sum(row["cpu_s"] for row in results["costs"])
    costs = [
        (row["stage"], row["unit"], f"{1e3 * row['cpu_s_per_unit']:.1f}", f"{row['cpu_s']:.0f}")
        for row in results["costs"]
    ]
    return text_table(
        ["CPU time of a run", "unit", "ms each", f"seconds, {total:.0f} in all"], costs
    )


def _mebibytes(count: int | None) -> str:
    return "-" if count is None else f"{count / 2**20:.0f}"


def _case_table(cases: list[dict[str, Any]]) -> Table:
    rows = [["method", "photo", "stride", "threads", "seconds", "spread", "GMAC", "GMAC/s",
             "of matmul", "MiB"]]  # fmt: skip
    for case in cases:
        mark = "~" if case["extrapolated"] else ""
        half = (case["high_s"] - case["low_s"]) / 2 / case["seconds"]
        memory = case["peak_bytes"]
        rows.append(
            [
                _words(case["method"]),
                f"{case['width_px']}x{case['height_px']}",
                "-" if case["stride_px"] is None else str(case["stride_px"]),
                str(case["threads"]),
                f"{mark}{case['seconds']:.3g}",
                f"{half:.0%}",
                f"{case['multiply_adds'] / 1e9:.3g}",
                f"{case['multiply_adds_per_s'] / 1e9:.1f}",
                f"{case['share_of_matmul']:.0%}",
                _mebibytes(memory),
            ]
        )
    return text_table(rows[0], rows[1:])


def _words(name: str) -> str:
    return name.replace("_", " ")


def _number(value: float | None, unit: str = "") -> str:
    return "-" if value is None else f"{value:.3g}{unit}"


def speed_figure(results: dict[str, Any]) -> Figure:
    """Time of each method, and its growth with the size of the photo, from benchmark.json."""
    figure = new_figure(12.0, 4.6)
    left, right = figure.subplots(1, 2, width_ratios=(2, 1))
    _times(left, results)
    colours = model_colours(list(METHODS))
    for name, points in results["curve"]["points"].items():
        x, y = ([point[key] for point in points] for key in ("megapixels", "seconds"))
        power = results["curve"]["exponent"][name]
        label = name if power is None else f"{name}: pixels to the power {power:.2f}"
        right.plot(x, y, "o-", color=colours[name], label=label)
    right.set(xscale="log", yscale="log", xlabel="photo [megapixels]", ylabel="time [s]")
    right.grid(visible=True, color=GRID)
    right.set_title("Time by size")
    right.legend(fontsize=9)
    return figure


def _times(axes: Axes, results: dict[str, Any]) -> None:
    most = max(case["threads"] for case in results["cases"])
    cases = [case for case in results["cases"] if case["threads"] == most]
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
        axes.bar(0, 0, color=colours[method], label=_words(method))
    axes.bar(0, 0, color="white", hatch="//", label="extrapolated")
    names = [f"{size[0]}x{size[1]}\nstride {stride}" for size, stride in groups]
    axes.set_xticks(range(len(groups)), names)
    axes.set(yscale="log", ylabel="time of a photo [s]")
    axes.set_title(f"Time of a photo, {most} threads (student: every pixel, whatever the stride)")
    axes.legend(fontsize=9, ncols=5)


def _case(
    cases: list[dict[str, Any]], method: str, size: tuple[int, int], stride: int
) -> dict[str, Any] | None:
    for case in cases:
        same_size = (case["width_px"], case["height_px"]) == size
        if case["method"] == method and same_size and case["stride_px"] in (stride, None):
            return case
    return None
