"""The cache_audit pipeline."""

from rangefinder.pipelines.cache_audit.pipeline import create_pipeline

__all__ = ["create_pipeline"]
