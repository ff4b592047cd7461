"""Variants of the method: what is left out or replaced, to see what it does."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from rangefinder.config import Parameters, PoolingParams, TeacherParams, parse_parameters

Lesson = Literal["teacher", "charts", "truth"]


@dataclass(frozen=True)
class Variant:
    """One way to train both networks.

    Attributes:
        name: Its name.
        says: What is different, in words.
        changes: Parameters that replace the run's own, by section.
        lesson: What the student learns from: the teacher's predictions for unlabelled photos; the
            charts and their distances; or the true distances of the photos, which only a simulation
            knows.
    """

    name: str
    says: str
    changes: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    lesson: Lesson = "teacher"

    def params(self, params: Parameters, seed: int) -> Parameters:
        """The run's parameters with this variant's changes and a seed for its training."""
        raw = params.model_dump() | {"seed": seed}
        for section, changes in self.changes.items():
            raw[section] = raw[section] | changes
        return parse_parameters(raw)


def variants_of(params: Parameters) -> dict[str, Variant]:
    """The variants that the parameters ask for, with the whole method first.

    Args:
        params: The whole method; variants are made by changing it.
    """
    every = {variant.name: variant for variant in _every(params)}
    wanted = params.ablation.variants
    if wanted is None:
        return every
    return {name: variant for name, variant in every.items() if name in {"all", *wanted}}


def _every(params: Parameters) -> list[Variant]:
    own, teacher = params.student.sharing, params.teacher
    both = {"teacher": {"location": False}, "student": {"location": False}}
    untaught = {"student": {"pooling": None}}
    return [
        Variant("all", "the whole method"),
        Variant("no_location", "neither network knows the place on the sensor", both),
        Variant("no_colour", "grey photos", {"teacher": {"colour": False}}),
        Variant("laplace", "one distance and its spread", {"teacher": {"form": "laplace"}}),
        Variant("smaller_patch", "teacher's patch 16 px smaller", _patch(teacher, -2)),
        Variant("larger_patch", "teacher's patch 16 px larger", _patch(teacher, 2)),
        Variant("whole_charts", "no chart before another", {"teacher": {"occluded_share": 0.0}}),
        *(
            Variant(f"sharing_{mode}", f"early layers: {mode}", {"student": {"sharing": mode}})
            for mode in ("none", "init", "frozen", "joint")
            if mode != own
        ),
        _pooling(params.student.pooling),
        _weighting(on=not params.student.confidence_weighting),
        Variant("on_charts", "student supervised on charts, no photos", untaught, "charts"),
        Variant("on_truth", "student supervised by the photos' true distances", untaught, "truth"),
    ]


def _pooling(own: PoolingParams | None) -> Variant:
    """Neighbours' say everywhere, or nowhere if that is what the method does."""
    if own is not None and not own.edges_only:
        untaught = {"student": {"pooling": None}}
        return Variant("no_pooling", "cells are taught their own patch's answer alone", untaught)
    everywhere = (own or PoolingParams()).model_copy(update={"edges_only": False}).model_dump()
    says = "cells are taught what neighbours of like colour say too"
    return Variant("pooling", says, {"student": {"pooling": everywhere}})


def _weighting(*, on: bool) -> Variant:
    """The other way to count cells."""
    name, says = (
        ("weighting", "cells count by what the teacher knows there")
        if on
        else ("no_weighting", "cells count alike, whatever the teacher knows")
    )
    return Variant(name, says, {"student": {"confidence_weighting": on}})


def _patch(teacher: TeacherParams, more: int) -> dict[str, dict[str, int]]:
    """A patch of so many blocks more, and crops that are larger by as much."""
    blocks = max(teacher.blocks + more, teacher.stem_blocks, 1)
    return {
        "teacher": {"blocks": blocks, "crop_px": teacher.crop_px + 8 * (blocks - teacher.blocks)}
    }
