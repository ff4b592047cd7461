"""cache_audit: the teacher asked again, patch by patch, about a random sample of its cache."""

from __future__ import annotations

from kedro.pipeline import Pipeline, node

from rangefinder.pipelines.cache_audit.nodes import audit


def create_pipeline() -> Pipeline:
    """Compare the teacher cache with its teacher."""
    return Pipeline(
        [
            node(
                audit,
                ["parameters", "captures", "teacher", "teacher_cache"],
                "cache_audit",
                name="audit_cache",
            )
        ]
    )
