"""benchmark: what the dense sweep, the cache and the student save, on this machine."""

from __future__ import annotations

from kedro.pipeline import Pipeline, node

from rangefinder.pipelines.benchmark.nodes import measure_speed


def create_pipeline() -> Pipeline:
    """Time, compare and draw."""
    return Pipeline(
        [
            node(
                measure_speed,
                ["parameters", "captures", "teacher", "teacher_cache", "student", "psf_banks"],
                ["benchmark", "benchmark_figure"],
                name="measure_speed",
            )
        ]
    )
