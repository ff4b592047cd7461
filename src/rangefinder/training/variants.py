"""Variants of the method: what is left out or replaced, to see what it does."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from rangefinder.config import (
    Parameters,
    PoolingParams,
    StudentParams,
    TeacherParams,
    parse_parameters,
)

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

    def differs(self, params: Parameters) -> bool:
        """Whether it is another training than these parameters ask for."""
        return self.lesson != "teacher" or self.params(params, params.seed) != params


def variants_of(params: Parameters) -> dict[str, Variant]:
    """The variants that the parameters ask for, with the whole method first.

    Args:
        params: The whole method; variants are made by changing it, and those that would change
            nothing are left out.
    """
    wanted = params.ablation.variants
    whole = Variant("all", "the whole method")
    others = [
        variant
        for variant in _others(params)
        if variant.differs(params) and (wanted is None or variant.name in wanted)
    ]
    return {variant.name: variant for variant in (whole, *others)}


def _others(params: Parameters) -> list[Variant]:
    untaught = _student(pooling=None)
    return [
        *_of_inputs(params.teacher),
        *_of_lessons(params.student),
        *_of_hearing(params.student),
        Variant("on_charts", "student supervised on charts, no photos", untaught, "charts"),
        Variant("on_truth", "student supervised by the photos' true distances", untaught, "truth"),
    ]


def _of_inputs(teacher: TeacherParams) -> list[Variant]:
    """What the teacher is given and says, and how much of it the student takes over."""
    both = {"teacher": {"location": False}, "student": {"location": False}}
    return [
        Variant("no_location", "neither network knows the place on the sensor", both),
        Variant("no_colour", "grey photos", {"teacher": {"colour": False}}),
        Variant("laplace", "one distance and its spread", {"teacher": {"form": "laplace"}}),
        Variant("smaller_patch", "teacher's patch 16 px smaller", _patch(teacher, -2)),
        Variant("larger_patch", "teacher's patch 16 px larger", _patch(teacher, 2)),
        Variant("whole_charts", "no chart before another", {"teacher": {"occluded_share": 0.0}}),
        *(
            Variant(f"sharing_{mode}", f"early layers: {mode}", _student(sharing=mode))
            for mode in ("none", "init", "frozen", "joint")
        ),
    ]


def _of_lessons(own: StudentParams) -> list[Variant]:
    """What the student is taught of what the teacher said."""
    everywhere, edges = (_pooling(own.pooling, edges_only=only) for only in (False, True))
    weighted, alike = (_student(confidence_weighting=on) for on in (True, False))
    faded, textured = (_student(faded_share=share) for share in (0.5, 0.0))
    return [
        Variant("pooling", "neighbours of like colour teach a cell too", everywhere),
        Variant("no_pooling", "a cell's own patch teaches it alone", edges),
        Variant("weighting", "cells count by what the teacher knows there", weighted),
        Variant("no_weighting", "cells count alike, whatever the teacher knows", alike),
        Variant("fading", "half of the photos lose texture here and there", faded),
        Variant("no_fading", "the student sees all the texture there is", textured),
    ]


def _of_hearing(own: StudentParams) -> list[Variant]:
    """Which cells of the student hear each other."""
    agreed = _student(agreement_sd=own.agreement_sd or StudentParams().agreement_sd)
    laid = _student(laid_charts=own.laid_charts or StudentParams().laid_charts)
    alone, unlaid = _student(agreement_sd=None), _student(laid_charts=0)
    return [
        Variant("agreement", "neighbours that look alike answer together", agreed),
        Variant("no_agreement", "every cell answers for itself", alone),
        Variant("laid_charts", "the student is shown where things end", laid),
        Variant("no_laid_charts", "the student is not shown where things end", unlaid),
    ]


def _student(**changes: Any) -> dict[str, dict[str, Any]]:
    return {"student": changes}


def _pooling(own: PoolingParams | None, *, edges_only: bool) -> dict[str, dict[str, Any]]:
    """Neighbours have their say at the photo's edges only, or everywhere."""
    pooling = (own or PoolingParams()).model_copy(update={"edges_only": edges_only})
    return _student(pooling=pooling.model_dump())


def _patch(teacher: TeacherParams, more: int) -> dict[str, dict[str, int]]:
    """A patch of so many blocks more, and crops that are larger by as much."""
    blocks = max(teacher.blocks + more, teacher.stem_blocks, 1)
    return {
        "teacher": {"blocks": blocks, "crop_px": teacher.crop_px + 8 * (blocks - teacher.blocks)}
    }
