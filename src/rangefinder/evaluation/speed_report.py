"""The table that ends a benchmark on the terminal."""

from __future__ import annotations

import sys
from typing import Any, TextIO

from rangefinder.evaluation.report import aligned
from rangefinder.evaluation.speed import FRAMES

_MEGA = 2**20


def speed_table(found: dict[str, Any]) -> str:
    """Times, work and ratios in plain text.

    Args:
        found: Content of benchmark.json.
    """
    ratios = [["ratio of times", "times faster"]]
    ratios += [[_words(name), _number(value, "x")] for name, value in found["ratios"].items()]
    epochs = [["epoch with targets", "seconds"]]
    epochs += [[_words(name), f"{s:.1f}"] for name, s in found["epochs"]["seconds"].items()]
    machine = found["machine"]
    head = f"Benchmark on {machine['gpu'] or machine['processor']}, {machine['cores']} cores"
    frames = f"student: {_number(found[FRAMES])} frames/s at 480x360, all threads"
    notes = [f"* {note}" for note in found["notes"]]
    extrapolated = "~ extrapolated from a sample of patches"
    parts = [head, aligned(_rows(found["cases"])), extrapolated, aligned(ratios), frames]
    return "\n\n".join([*parts, aligned(epochs), *notes]) + "\n"


def print_speed(found: dict[str, Any], stream: TextIO | None = None) -> None:
    """Write the table to a stream, standard output by default."""
    stream = stream or sys.stdout
    stream.write("\n" + speed_table(found))
    stream.flush()


def _rows(cases: list[dict[str, Any]]) -> list[list[str]]:
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
                "-" if memory is None else f"{memory / _MEGA:.0f}",
            ]
        )
    return rows


def _words(name: str) -> str:
    return name.replace("_", " ")


def _number(value: float | None, unit: str = "") -> str:
    return "-" if value is None else f"{value:.3g}{unit}"
