"""The few numbers that sum a run up: the metrics of DVC, the columns of MLflow, a run's name."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

CONSTANT, STUDENT = "constant", "student"
_REGIONS = {"weak": ("by_texture", "weak"), "edge": ("by_edge", "near")}
_DIGITS = 4  # so that tables of DVC stay narrow


def headline(summary: dict[str, Any]) -> dict[str, float]:
    """Content of metrics.json.

    Args:
        summary: Content of evaluation.json.

    Returns:
        `constant`, `teacher` and `student`: AbsRel. Of the student: `weak` and `edge` (AbsRel at
        weak texture and near depth edges), `delta1`, `in80` (share of pixels within the 80 %
        interval) and `ause`. Numbers that do not exist, for want of pixels, are left out.
    """
    models = summary["models"]
    found = {name: models[name]["overall"]["abs_rel"] for name in (CONSTANT, "teacher", STUDENT)}
    own = models[STUDENT]
    found |= {name: own[group][region]["abs_rel"] for name, (group, region) in _REGIONS.items()}
    found |= {"delta1": own["overall"]["delta1"], "in80": own["coverage"]["0.8"]}
    found |= {"ause": own["ause"]}
    return {name: round(value, _DIGITS) for name, value in found.items() if value is not None}


def beats_constant(summary: Mapping[str, Any], model: str) -> bool:
    """Whether a model's AbsRel is below that of the best constant, which looks at no photo.

    Args:
        summary: Content of evaluation.json.
        model: One of its models.
    """
    models = summary["models"]
    return bool(models[model]["overall"]["abs_rel"] < models[CONSTANT]["overall"]["abs_rel"])
