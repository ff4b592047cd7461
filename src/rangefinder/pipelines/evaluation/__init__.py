"""The evaluation pipeline."""

from rangefinder.pipelines.evaluation.pipeline import create_pipeline

__all__ = ["create_pipeline"]
