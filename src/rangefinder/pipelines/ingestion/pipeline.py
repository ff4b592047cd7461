"""ingestion: the camera and everything it has seen."""

from __future__ import annotations

from kedro.pipeline import Pipeline, node

from rangefinder.pipelines.ingestion.nodes import gather, trace_lens


def create_pipeline() -> Pipeline:
    """Trace the lens, then simulate captures through it and import those that were brought."""
    return Pipeline(
        [
            node(trace_lens, ["parameters", "raw", "psf_banks"], "psf_bank", name="trace_lens"),
            node(gather, ["parameters", "psf_bank", "raw"], "captures", name="gather_captures"),
        ]
    )
