"""student_distillation: unlabelled captures + teacher cache -> student."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from kedro.pipeline import Pipeline, node

from rangefinder.config import (
    ComputeParams,
    NoiseParams,
    Parameters,
    RangeParams,
    StudentParams,
    TeacherParams,
)
from rangefinder.pipelines import sections

if TYPE_CHECKING:
    from rangefinder.cache.store import TeacherCache
    from rangefinder.captures.manifest import CaptureSet
    from rangefinder.models.model_files import TrainedModel


def distil(
    seed: int,
    range_: RangeParams,
    noise: NoiseParams,
    teacher_params: TeacherParams,
    student: StudentParams,
    compute: ComputeParams,
    captures: CaptureSet,
    teacher: TrainedModel,
    cache: TeacherCache,
    checkpoints: Path,
) -> TrainedModel:
    """The whole-image network, distilled from the teacher's cached predictions.

    Its card holds what drift is measured against.

    Raises:
        StaleCacheError: If the cache is not this teacher's over these captures.
    """
    from rangefinder.inference.drift_terms import with_drift_reference
    from rangefinder.tracking.runs import epoch_logger
    from rangefinder.training.assembly import Distillation, validation_split

    cache.require(teacher, captures)
    params = Parameters.only(
        seed=seed,
        range=range_,
        noise=noise,
        teacher=teacher_params,
        student=student,
        compute=compute,
    )
    logger = epoch_logger("student")
    trained = Distillation(captures, teacher, cache, params, checkpoints, logger).distil()
    return with_drift_reference(trained, validation_split(captures), compute.device)


def create_pipeline() -> Pipeline:
    """Distil the student from the teacher cache."""
    return Pipeline(
        [
            node(
                distil,
                [
                    *sections("seed", "range", "noise", "teacher", "student", "compute"),
                    "captures",
                    "teacher",
                    "teacher_cache",
                    "student_checkpoints",
                ],
                "student",
                name="distil_student",
            )
        ]
    )
