"""The report of drift: a page that needs no network, and JSON."""

from __future__ import annotations

import json
from pathlib import Path

from rich.text import Text

from rangefinder.common.files import atomic_write
from rangefinder.errors import ConfigError
from rangefinder.inference.drift import Comparison, Drift

SUFFIXES = (".html", ".json")
HEAD = ("statistic", "new photos", "held-out photos", "z", "p (Holm)")


def drift_page(drift: Drift, level: float) -> str:
    """The verdict, and every statistic; those that differ are bold.

    Args:
        drift: The judgement.
        level: Of significance.
    """
    from rich.table import Table

    from rangefinder.common.page import Grid, Notice, Section, page

    table = Table(*HEAD[:1])
    for name in HEAD[1:]:
        table.add_column(name, justify="right")
    for one in drift.comparisons:
        table.add_row(*_row(one, level))
    stored = (
        f"{drift.refused} of {drift.photos} photos are stored or processed unlike those of the "
        f"training; EXIF data or size of {drift.other} name another camera or setting."
    )
    verdict = Notice("bad" if drift.is_drift else "good", str(drift))
    caption = "Mean and standard error of each statistic; bold: significantly different."
    sections = [Section("Verdict", [verdict, stored])]
    if drift.comparisons:
        sections.append(Section("Statistics", [Grid(table, caption)]))
    return page("Drift", "Whether photos are still of the camera of the training.", sections)


def _row(one: Comparison, level: float) -> list[Text]:
    cells = (
        one.name,
        f"{one.found.value:.4f} \u00b1 {one.found.se:.4f}",
        f"{one.expected.value:.4f} \u00b1 {one.expected.se:.4f}",
        f"{one.z:+.1f}",
        f"{one.p:.2g}",
    )
    return [Text(cell, "bold" if one.p < level else "") for cell in cells]


def require_report_type(path: Path) -> None:
    """Refuse a report that is neither a page nor JSON.

    Raises:
        ConfigError: In that case.
    """
    if path.suffix not in SUFFIXES:
        raise ConfigError(
            "the report has an unknown type", got=str(path), expected=", ".join(SUFFIXES)
        )


def write_report(path: Path, drift: Drift, level: float) -> None:
    """Write the report as a page (.html) or as JSON (.json).

    Raises:
        ConfigError: If the name ends otherwise.
    """
    require_report_type(path)
    is_page = path.suffix == ".html"
    text = drift_page(drift, level) if is_page else json.dumps(drift.content(), indent=2) + "\n"
    atomic_write(path, lambda file: file.write_text(text, encoding="utf-8"))
