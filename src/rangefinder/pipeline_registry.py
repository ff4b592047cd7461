"""The pipelines of the project."""

from __future__ import annotations

from kedro.pipeline import Pipeline

from rangefinder.pipelines import (
    evaluation,
    ingestion,
    patch_caching,
    student_distillation,
    teacher_training,
)

CHAIN = (ingestion, teacher_training, patch_caching, student_distillation, evaluation)


def register_pipelines() -> dict[str, Pipeline]:
    """Each pipeline under its own name; `distill` is all of them, and the default."""
    pipelines = {module.__name__.rpartition(".")[2]: module.create_pipeline() for module in CHAIN}
    distill = sum(pipelines.values(), start=Pipeline([]))
    return {**pipelines, "distill": distill, "__default__": distill}
