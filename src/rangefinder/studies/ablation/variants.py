"""Variants of the method: what the ablation leaves out or replaces."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from rangefinder.config import (
    AggregationParams,
    Parameters,
    StudentParams,
    TeacherParams,
    parse_parameters,
)

WHOLE = "all"  # name of the whole method
TargetSource = Literal["teacher", "charts", "truth"]


@dataclass(frozen=True)
class Variant:
    """One way to train both networks.

    Attributes:
        changes: Parameters that replace the run's own, by section.
        target_source: Of the student's targets: the teacher's predictions for unlabelled photos;
            charts and their distances; or true distances of the photos (simulated photos only).
    """

    name: str  # its name
    description: str  # what is different, in words
    changes: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    target_source: TargetSource = "teacher"

    def params(self, params: Parameters, seed: int) -> Parameters:
        """The run's parameters with this variant's changes and a seed."""
        raw = params.model_dump() | {"seed": seed}
        for section, changes in self.changes.items():
            raw[section] = raw[section] | changes
        return parse_parameters(raw)

    def differs(self, params: Parameters) -> bool:
        """Whether its training differs from that of these parameters."""
        return self.target_source != "teacher" or self.params(params, params.seed) != params


def variants_of(params: Parameters) -> dict[str, Variant]:
    """The variants of `ablation.variants`, by name, the whole method first.

    Args:
        params: The whole method; variants that would change nothing are left out.
    """
    names = params.ablation.variants
    as_labelled = _student(target_aggregation=None)
    others = [
        *_network_variants(params.teacher),
        *_student_variants(params.student),
        Variant("on_charts", "student supervised on charts, no photos", as_labelled, "charts"),
        Variant("on_truth", "student supervised by true distances", as_labelled, "truth"),
    ]
    chosen = [one for one in others if one.differs(params) and (names is None or one.name in names)]
    return {variant.name: variant for variant in (Variant(WHOLE, "the whole method"), *chosen)}


def _network_variants(teacher: TeacherParams) -> list[Variant]:
    """Variants of the teacher's inputs and outputs, of the patch, and of shared layers."""
    both = {"teacher": {"location": False}, "student": {"location": False}}
    return [
        Variant("no_location", "networks without location", both),
        Variant("no_colour", "grey photos", {"teacher": {"colour": False}}),
        Variant("laplace", "Laplace distributions", {"teacher": {"form": "laplace"}}),
        Variant("smaller_patch", "teacher's patch 16 px smaller", _patch(teacher, -2)),
        Variant("larger_patch", "teacher's patch 16 px larger", _patch(teacher, 2)),
        Variant(
            "no_composited_charts", "no composited charts", {"teacher": {"composited_share": 0.0}}
        ),
        *(
            Variant(f"sharing_{mode}", f"early layers: {mode}", _student(sharing=mode))
            for mode in ("none", "init", "frozen", "joint")
        ),
    ]


def _student_variants(own: StudentParams) -> list[Variant]:
    """Variants of the student's targets, training and aggregation."""
    default = StudentParams()
    everywhere, margin = (
        (own.target_aggregation or AggregationParams()).model_copy(update={"margin_only": only})
        for only in (False, True)
    )
    aggregated = _student(target_aggregation=everywhere.model_dump())
    at_margin = _student(target_aggregation=margin.model_dump())
    weighted, equal = (_student(negentropy_weighting=on) for on in (True, False))
    attenuated, textured = (_student(attenuated_share=share) for share in (0.5, 0.0))
    together = _student(aggregation_sd=own.aggregation_sd or default.aggregation_sd)
    scenes = _student(composited_scenes=own.composited_scenes or default.composited_scenes)
    alone, no_scenes = _student(aggregation_sd=None), _student(composited_scenes=0)
    return [
        Variant("target_aggregation", "targets aggregated over neighbours", aggregated),
        Variant("no_target_aggregation", "targets aggregated at the margin only", at_margin),
        Variant("negentropy_weighting", "cells weighted by the teacher's negentropy", weighted),
        Variant("no_negentropy_weighting", "cells weighted equally", equal),
        Variant("attenuation", "contrast attenuated in half of the photos", attenuated),
        Variant("no_attenuation", "no contrast attenuation", textured),
        Variant("aggregation", "posteriors aggregated over neighbours", together),
        Variant("no_aggregation", "posteriors not aggregated", alone),
        Variant("composited_scenes", "with composited scenes", scenes),
        Variant("no_composited_scenes", "without composited scenes", no_scenes),
    ]


def _student(**changes: Any) -> dict[str, dict[str, Any]]:
    return {"student": changes}


def _patch(teacher: TeacherParams, more: int) -> dict[str, dict[str, int]]:
    """A patch of `more` blocks more, and crops that are larger by as much."""
    blocks = max(teacher.blocks + more, teacher.stem_blocks, 1)
    return {
        "teacher": {"blocks": blocks, "crop_px": teacher.crop_px + 8 * (blocks - teacher.blocks)}
    }
