"""The table that ends a run on the terminal."""

from __future__ import annotations

import os
import sys
import textwrap
from typing import Any, TextIO

from rangefinder.evaluation.metrics import HIGHER_IS_BETTER, LEVELS

_COLUMNS = {
    "AbsRel": ("abs_rel", "{:.3f}"),
    "MAE [m]": ("mae_m", "{:.3f}"),
    "RMSE [m]": ("rmse_m", "{:.3f}"),
    "RMSE [dpt]": ("rmse_dpt", "{:.3f}"),
    "d1": ("delta1", "{:.3f}"),
    "d2": ("delta2", "{:.3f}"),
    "d3": ("delta3", "{:.3f}"),
}
_BOLD, _PLAIN = "\x1b[1m", "\x1b[0m"
_NOTHING = "-"

Rows = list[list[str]]


def summary_table(summary: dict[str, Any], *, bold: bool = False) -> str:
    """Compare the models in plain text.

    Args:
        summary: Content of evaluation.json.
        bold: Mark the best value of each column with terminal escapes.

    Returns:
        Three parts: overall scores, AbsRel by region, and ratios between models.
    """
    models = summary["models"]
    protocol = summary["protocol"]
    near, far = protocol["report_m"]
    pixels = protocol["pixels"]["overall"]
    head = (
        f"Evaluation: {summary['dataset']['captures']} captures, {protocol['scenes']} scenes, "
        f"{pixels:,} pixels within {near:g}-{far:g} m, the same for every model"
    )
    if "limits" in summary:
        head += "\n" + textwrap.fill(summary["limits"], 100)
    parts = [head, _overall(models, bold), "AbsRel by region", _regions(models, protocol, bold)]
    ratios = _ratios(summary["comparisons"])
    return "\n\n".join(part for part in (*parts, ratios) if part) + "\n"


def print_summary(summary: dict[str, Any], stream: TextIO | None = None) -> None:
    """Write the table; best values stand out where the stream is a terminal.

    Args:
        summary: Content of evaluation.json.
        stream: Where to; standard output by default.
    """
    stream = stream or sys.stdout
    bold = stream.isatty() and "NO_COLOR" not in os.environ
    stream.write("\n" + summary_table(summary, bold=bold))
    stream.flush()


def _overall(models: dict[str, Any], bold: bool) -> str:
    names = list(models)
    rows: Rows = [["model"], *([name] for name in names)]
    for title, (key, form) in _COLUMNS.items():
        values = [models[name]["overall"][key] for name in names]
        _column(rows, title, values, form, _best(values, key in HIGHER_IS_BETTER, bold))
    half = [models[name]["surer_half_abs_rel"] for name in names]
    _column(rows, "surer half", half, "{:.3f}", _best(half, False, bold))
    for level in LEVELS:
        values = [models[name]["coverage"][str(level)] for name in names]
        off = [None if value is None else abs(value - level) for value in values]
        _column(rows, f"in {100 * level:g} %", values, "{:.0%}", _best(off, False, bold))
    return aligned(rows)


def _regions(models: dict[str, Any], protocol: dict[str, Any], bold: bool) -> str:
    rows: Rows = [["region", "pixels", *models]]
    groups = {"texture": "by_texture", "": "by_position", "edge": "by_edge", "m": "by_distance_m"}
    total = protocol["pixels"]["overall"]
    for suffix, group in groups.items():
        for region, count in protocol["pixels"][group].items():
            values = [model[group][region]["abs_rel"] for model in models.values()]
            label = f"{region} {suffix}".strip()
            if group == "by_edge":
                label = f"{region} {'an' if region == 'near' else 'from'} edge"
            rows.append([label, f"{count / total:.0%}", *_cells(values, bold)])
    for scene in next(iter(models.values()))["real_scenes"]:
        values = [model["real_scenes"][scene]["abs_rel"] for model in models.values()]
        rows.append([f"{scene} (real)", "", *_cells(values, bold)])
    return aligned(rows)


def _ratios(comparisons: dict[str, Any]) -> str:
    lines = []
    for pair, scores in comparisons.items():
        ratio = scores["abs_rel"]
        if ratio["ratio"] is None:
            continue
        line = f"AbsRel {pair}: {ratio['ratio']:.2f}"
        if ratio["low"] is not None:
            line += f" (95 % over scenes: {ratio['low']:.2f} to {ratio['high']:.2f})"
        lines.append(line)
    return "\n".join(lines)


def _cells(values: list[float | None], bold: bool) -> list[str]:
    best = _best(values, False, bold)
    return [_cell(value, "{:.3f}", place in best) for place, value in enumerate(values)]


def _column(rows: Rows, title: str, values: list[float | None], form: str, best: set[int]) -> None:
    rows[0].append(title)
    for place, (row, value) in enumerate(zip(rows[1:], values, strict=True)):
        row.append(_cell(value, form, place in best))


def _cell(value: float | None, form: str, bold: bool) -> str:
    text = _NOTHING if value is None else form.format(value)
    return f"{_BOLD}{text}{_PLAIN}" if bold else text


def _best(values: list[float | None], highest: bool, bold: bool) -> set[int]:
    known = [value for value in values if value is not None]
    if not bold or not known:
        return set()
    target = max(known) if highest else min(known)
    return {place for place, value in enumerate(values) if value == target}


def aligned(rows: Rows) -> str:
    """Cells in columns, the first to the left, under a rule below the head."""
    widths = [max(_width(row[i]) for row in rows) for i in range(len(rows[0]))]
    lines = []
    for row in rows:
        first = row[0] + " " * (widths[0] - _width(row[0]))
        rest = (
            " " * (width - _width(cell)) + cell
            for cell, width in zip(row[1:], widths[1:], strict=True)
        )
        lines.append("  ".join([first, *rest]).rstrip())
    lines.insert(1, "-" * max(map(_width, lines)))
    return "\n".join(lines)


def _width(text: str) -> int:
    return len(text.replace(_BOLD, "").replace(_PLAIN, ""))
