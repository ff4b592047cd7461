"""student_distillation: the teacher's knowledge, widened to the whole photo."""

from __future__ import annotations

from kedro.pipeline import Pipeline, node

from rangefinder.pipelines.student_distillation.nodes import distil


def create_pipeline() -> Pipeline:
    """Distil the student from the teacher cache."""
    return Pipeline(
        [
            node(
                distil,
                ["parameters", "captures", "teacher", "teacher_cache", "student_checkpoints"],
                "student",
                name="distil_student",
            )
        ]
    )
