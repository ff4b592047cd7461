"""The table that ends an ablation on the terminal: variants, best first, and the claims."""

from __future__ import annotations

import sys
from typing import Any, TextIO

from rangefinder.evaluation.report import aligned

_COLUMNS = {
    "AbsRel": "abs_rel",
    "d1": "delta1",
    "strong": "strong_abs_rel",
    "weak": "weak_abs_rel",
    "corner": "corner_abs_rel",
    "at edges": "edge_abs_rel",
    "in 80 %": "coverage_80",
}


def claims_table(summary: dict[str, Any]) -> str:
    """Variants and claims in plain text.

    Args:
        summary: Content of ablation.json.
    """
    rows = [["variant", *_COLUMNS]]
    for name, means in summary["variants"].items():
        rows.append(
            [name, *(_cell(means, summary["spread"][name], key) for key in _COLUMNS.values())]
        )
    claims = [["claim", "holds", "ratio", "wanted"]]
    for claim in summary["claims"]:
        numbers = claim["numbers"]
        score = "" if numbers["score"] == "abs_rel" else f" [{numbers['score']}]"
        holds = "yes" if claim["holds"] else "NO"
        wanted = f"<= {numbers['wanted_at_most']:.2f}"
        claims.append([claim["claim"] + score, holds, f"{numbers['ratio']:.3f}", wanted])
    return f"Ablation: AbsRel of each variant, best first\n{aligned(rows)}\n\n{aligned(claims)}\n"


def print_claims(summary: dict[str, Any], stream: TextIO | None = None) -> None:
    """Write the table.

    Args:
        summary: Content of ablation.json.
        stream: Where to; standard output by default.
    """
    stream = stream or sys.stdout
    stream.write("\n" + claims_table(summary))
    stream.flush()


def _cell(means: dict[str, float], spread: dict[str, float | None], key: str) -> str:
    deviation = spread[key]
    text = f"{means[key]:.3f}"
    return text if deviation is None else f"{text} ({deviation:.3f})"
