"""ablation: what each part of the method is worth."""

from __future__ import annotations

from kedro.pipeline import Pipeline, node

from rangefinder.pipelines.ablation.nodes import compare_variants


def create_pipeline() -> Pipeline:
    """Train and score every variant."""
    return Pipeline(
        [
            node(
                compare_variants,
                ["parameters", "captures", "ablation_folder"],
                ["ablation_table", "ablation_figure", "ablation"],
                name="compare_variants",
            )
        ]
    )
