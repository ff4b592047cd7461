"""The teacher_training pipeline."""

from rangefinder.pipelines.teacher_training.pipeline import create_pipeline

__all__ = ["create_pipeline"]
