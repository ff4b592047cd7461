"""The benchmark pipeline."""

from rangefinder.pipelines.benchmark.pipeline import create_pipeline

__all__ = ["create_pipeline"]
