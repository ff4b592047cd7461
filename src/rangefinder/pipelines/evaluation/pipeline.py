"""evaluation: every model on held-out scenes, by one schema."""

from __future__ import annotations

from kedro.pipeline import Pipeline, node

from rangefinder.pipelines.evaluation.nodes import score


def create_pipeline() -> Pipeline:
    """Score and draw."""
    return Pipeline(
        [
            node(
                score,
                ["parameters", "captures", "teacher", "student", "psf_banks"],
                ["evaluation", "per_image", "figures"],
                name="score_models",
            )
        ]
    )
