"""ingestion: the camera and everything it has seen."""

from __future__ import annotations

from kedro.pipeline import Pipeline, node

from rangefinder.pipelines.ingestion.nodes import simulate, trace_lens


def create_pipeline() -> Pipeline:
    """Trace the lens, then simulate captures through it."""
    return Pipeline(
        [
            node(trace_lens, ["parameters", "psf_banks"], "psf_bank", name="trace_lens"),
            node(simulate, ["parameters", "psf_bank"], "captures", name="simulate_captures"),
        ]
    )
