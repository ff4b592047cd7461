"""The ablation pipeline."""

from rangefinder.pipelines.ablation.pipeline import create_pipeline

__all__ = ["create_pipeline"]
