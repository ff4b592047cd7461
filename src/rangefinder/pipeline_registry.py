"""The pipelines of the project."""

from __future__ import annotations

from kedro.pipeline import Pipeline

from rangefinder.pipelines import (
    ablation,
    benchmark,
    cache_audit,
    evaluation,
    ingestion,
    patch_caching,
    student_distillation,
    teacher_training,
)

CHAIN = (ingestion, teacher_training, patch_caching, student_distillation, evaluation)
APART = (ablation, benchmark, cache_audit)  # studies and checks: no stages of `dvc repro`


def register_pipelines() -> dict[str, Pipeline]:
    """Each pipeline under its own name; `distill` is the chain of `CHAIN`, and the default."""
    pipelines = {module.__name__.rpartition(".")[2]: module.create_pipeline() for module in CHAIN}
    distill = sum(pipelines.values(), start=Pipeline([]))
    apart = {module.__name__.rpartition(".")[2]: module.create_pipeline() for module in APART}
    return {**pipelines, **apart, "distill": distill, "__default__": distill}
