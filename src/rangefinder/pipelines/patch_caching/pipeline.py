"""patch_caching: the teacher's predictions, stored once."""

from __future__ import annotations

from kedro.pipeline import Pipeline, node

from rangefinder.pipelines.patch_caching.nodes import sweep


def create_pipeline() -> Pipeline:
    """Sweep the teacher over all unlabelled captures."""
    return Pipeline(
        [
            node(
                sweep,
                ["parameters", "captures", "teacher", "teacher_cache_folder"],
                "teacher_cache",
                name="sweep_teacher",
            )
        ]
    )
