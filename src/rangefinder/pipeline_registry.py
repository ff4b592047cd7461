"""The pipelines of the project."""

from __future__ import annotations

from kedro.pipeline import Pipeline

from rangefinder.pipelines import (
    benchmark,
    evaluation,
    ingestion,
    patch_caching,
    student_distillation,
    teacher_training,
)

CHAIN = (ingestion, teacher_training, patch_caching, student_distillation, evaluation)
APART = (benchmark,)  # about this machine, not about the data: no stage of DVC, not in `distill`


def register_pipelines() -> dict[str, Pipeline]:
    """Each pipeline under its own name; `distill` is all of them, and the default."""
    pipelines = {module.__name__.rpartition(".")[2]: module.create_pipeline() for module in CHAIN}
    distill = sum(pipelines.values(), start=Pipeline([]))
    apart = {module.__name__.rpartition(".")[2]: module.create_pipeline() for module in APART}
    return {**pipelines, **apart, "distill": distill, "__default__": distill}
