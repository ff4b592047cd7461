"""The pipelines of the project."""

from __future__ import annotations

from kedro.pipeline import Pipeline

from rangefinder.pipelines import (
    drift,
    evaluation,
    export,
    ingestion,
    patch_caching,
    promotion,
    report,
    student_distillation,
    studies,
    teacher_training,
)


def register_pipelines() -> dict[str, Pipeline]:
    """Each pipeline under its own name; `distill` chains the six of a run, and is the default."""
    chain = {
        "ingestion": ingestion.create_pipeline(),
        "teacher_training": teacher_training.create_pipeline(),
        "patch_caching": patch_caching.create_pipeline(),
        "student_distillation": student_distillation.create_pipeline(),
        "evaluation": evaluation.create_pipeline(),
        "report": report.create_pipeline(),
    }
    distill = sum(chain.values(), start=Pipeline([]))
    return {
        **chain,
        "promotion": promotion.create_pipeline(),
        "export": export.create_pipeline(),
        "drift": drift.create_pipeline(),
        "cache_audit": patch_caching.create_cache_audit_pipeline(),
        "benchmark": studies.create_benchmark_pipeline(),
        "ablation": studies.create_ablation_pipeline(),
        "distill": distill,
        "__default__": distill,
    }
