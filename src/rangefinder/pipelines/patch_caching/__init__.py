"""The patch_caching pipeline."""

from rangefinder.pipelines.patch_caching.pipeline import create_pipeline

__all__ = ["create_pipeline"]
