"""Which captures models are scored on, and what those cannot show."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rangefinder.errors import CaptureError

if TYPE_CHECKING:
    from rangefinder.captures.manifest import CaptureSet

CHARTS_ONLY = (
    "Scored on held-out charts, since no labelled capture is held out. Flat sheets at one distance "
    "each cannot show errors at outlines of things, on weakly textured or slanted surfaces, or "
    "what context adds: expect larger errors in photos of rooms."
)


def held_out(captures: CaptureSet) -> tuple[CaptureSet, dict[str, str]]:
    """Labelled test captures; without any, test charts.

    Args:
        captures: All captures.

    Returns:
        The captures to score on, and an entry `limits` for the summary where they show less.

    Raises:
        CaptureError: If there is neither.
    """
    labelled = captures.select(role="labelled", split="test")
    if len(labelled):
        return labelled, {}
    charts = captures.select(role="chart", split="test")
    if len(charts):
        return charts, {"limits": CHARTS_ONLY}
    raise CaptureError(
        "there is nothing to score on",
        expected="labelled captures or charts of the test split",
        todo="Bring captures of more scenes or chart sheets, or name splits in the table.",
    )
