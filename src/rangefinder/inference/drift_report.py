"""The report of drift: a page that needs no network, and JSON."""

from __future__ import annotations

import json
from html import escape
from pathlib import Path

from rangefinder.common.files import atomic_write
from rangefinder.errors import ConfigError
from rangefinder.inference.drift import Comparison, Drift

SUFFIXES = (".html", ".json")
_STYLE = (
    "body{font:16px/1.5 sans-serif;max-width:50rem;margin:2rem auto;padding:0 1rem}"
    "table{border-collapse:collapse}td,th{padding:.2rem .8rem;text-align:right}"
    "td:first-child,th:first-child{text-align:left}.moved{background:#fdd}"
    "p.drift{border-left:.4rem solid #c00;padding-left:1rem}"
)


def drift_page(drift: Drift, level: float) -> str:
    """The verdict, and every statistic; those that differ are marked.

    Args:
        drift: The judgement.
        level: Of significance.
    """
    kind = "drift" if drift.is_drift else "none"
    head = "statistic", "new photos", "held-out photos", "z", "p (Holm)"
    rows = "".join(_row(one, level) for one in drift.comparisons)
    return (
        f"<!doctype html><meta charset=utf-8><title>Drift</title><style>{_STYLE}</style>"
        f"<h1>Drift</h1><p class={kind}>{escape(str(drift))}</p>"
        f"<p>{drift.refused} of {drift.photos} photos are stored or processed unlike those of the "
        f"training; {drift.other} say that they are of another camera or setting.</p>"
        f"<table><tr>{''.join(f'<th>{name}</th>' for name in head)}</tr>{rows}</table>\n"
    )


def _row(one: Comparison, level: float) -> str:
    cells = (
        one.name,
        f"{one.found.value:.4f} &plusmn; {one.found.se:.4f}",
        f"{one.expected.value:.4f} &plusmn; {one.expected.se:.4f}",
        f"{one.z:+.1f}",
        f"{one.p:.2g}",
    )
    mark = " class=moved" if one.p < level else ""
    return f"<tr{mark}>{''.join(f'<td>{cell}</td>' for cell in cells)}</tr>"


def write_report(path: Path, drift: Drift, level: float) -> None:
    """Write the report as a page (.html) or as JSON (.json).

    Raises:
        ConfigError: If the name ends otherwise.
    """
    if path.suffix not in SUFFIXES:
        raise ConfigError(
            "the report has an unknown type", got=str(path), expected=", ".join(SUFFIXES)
        )
    is_page = path.suffix == ".html"
    text = drift_page(drift, level) if is_page else json.dumps(drift.content(), indent=2) + "\n"
    atomic_write(path, lambda file: file.write_text(text, encoding="utf-8"))
