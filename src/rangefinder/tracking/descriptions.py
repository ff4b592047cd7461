"""Descriptions of registered models, in Markdown, as MLflow's pages show them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from rangefinder.models.card import Card

SCORES, DECISION = "Scores", "Decision"  # sections that are added later
_KINDS = {
    "teacher": "Patch network: a local area and its place on the sensor to its distance. It "
    "teaches the student.",
    "student": "Whole-image network: a photo to the distance of every pixel, with intervals.",
}


def registered_model(kind: str) -> str:
    """What all versions of a registered model are."""
    return (
        f"{_KINDS[kind]}\n\nA version belongs to one camera (tag `camera`). `champion` passed the "
        "gate (`rangefinder promote`); `candidate` is the newest that beats the best constant."
    )


def version(card: Card, uri: str) -> str:
    """What a version is, what it was made for, its limits, and how it is loaded.

    Args:
        card: Of the model.
        uri: `models:/NAME/VERSION`.
    """
    camera, (far_dpt, near_dpt) = card.camera, card.prediction.inverse_range_dpt
    limits = [
        "Photos of this camera at this focus; other ones are refused.",
        "Photos as those of its training: developed otherwise, its intervals are widened.",
    ]
    if card.lens_caveat:
        limits.append(f"{card.lens_caveat[0].upper()}{card.lens_caveat[1:].rstrip('.')}.")
    return _sections(
        {
            "": _KINDS[card.kind],
            "Camera": f"{camera.in_words}. Predicts {1 / near_dpt:.2f} to {1 / far_dpt:.1f} m.",
            "Limits": "\n".join(f"- {limit}" for limit in limits),
            "Load": "```python\nimport rangefinder\n\n"
            f'session = rangefinder.load_model("{uri}")\n'
            'print(session.measure("photo.tif").at(240, 180))\n```',
        }
    )


def scores(found: Mapping[str, Any], captures: int, digest: str) -> str:
    """Scores with their spread over scenes.

    Args:
        found: A model's entry of `models` in evaluation.json.
        captures: Number of test captures.
        digest: Of these.
    """
    overall = found["overall"]
    rows = [f"AbsRel {_number(overall['abs_rel'])}{_spread(found, 'abs_rel')}"]
    rows += [f"delta1 {_number(overall['delta1'])}{_spread(found, 'delta1')}"]
    for name, group, region in (
        ("weak texture", "by_texture", "weak"),
        ("near depth edges", "by_edge", "near"),
        ("corners", "by_position", "corner"),
    ):
        rows.append(f"{name}: AbsRel {_number(found[group][region]['abs_rel'])}")
    inside = found["coverage"]["0.8"]
    rows.append(f"80 % intervals hold {'-' if inside is None else f'{inside:.0%}'} of the pixels")
    listed = "\n".join(f"- {row}" for row in rows)
    return (
        f"On {captures} test captures (`{digest}`), with the 95 % interval over scenes:\n\n{listed}"
    )


def with_section(description: str, title: str, text: str) -> str:
    """A description with one section set or replaced."""
    parts = re.split(r"^## (.+)\n+", description, flags=re.MULTILINE)
    found = {"": parts[0], **dict(zip(parts[1::2], parts[2::2], strict=True))}
    return _sections(found | {title: text})


def _sections(parts: Mapping[str, str]) -> str:
    return "\n\n".join(
        f"## {title}\n\n{text.strip()}" if title else text.strip() for title, text in parts.items()
    )


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"


def _spread(found: Mapping[str, Any], name: str) -> str:
    low, high = found["ci95"][name]
    return "" if low is None else f" ({low:.3f} to {high:.3f})"
