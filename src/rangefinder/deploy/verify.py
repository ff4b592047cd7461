"""The tape-measure check: what the model says against what was measured."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from rangefinder.deploy.bench import Bench, Point, Reading, read_off
from rangefinder.deploy.measure import LEVEL


@dataclass(frozen=True)
class Check:
    """One place of one photo, measured twice.

    Attributes:
        photo: The photo.
        reading: What the model says.
        tape_m: What the tape says [m].
        forced: Why the photo should have been refused.
    """

    photo: Path
    reading: Reading
    tape_m: float
    forced: tuple[str, ...] = ()

    @property
    def error(self) -> float:
        """Relative error."""
        return self.reading.distance_m / self.tape_m - 1

    @property
    def inside(self) -> bool:
        """Whether the tape's distance is within the model's interval."""
        return self.reading.near_m <= self.tape_m <= self.reading.far_m


def check(bench: Bench, photo: Path, tape_m: float, points: Sequence[Point]) -> list[Check]:
    """Compare at some places of a photo, by default in its middle.

    Raises:
        CaptureError: If the photo cannot be measured, or a place is outside of it.
    """
    given, measurement = bench.measure(photo)
    height, width = measurement.confidence.shape
    places = points or [(width // 2, height // 2)]
    return [Check(photo, read_off(measurement, place), tape_m, given.warnings) for place in places]


def table(checks: Sequence[Check]) -> str:
    """Checks as text, one a line, with a summary where there are several."""
    width = max(len("photo"), *(len(check.photo.name) for check in checks))
    interval = f"{LEVEL:.0%} interval [m]"
    head = f"{'photo':{width}}  {'at [px]':>12}  tape [m]  model [m]  error  {interval:>16}"
    lines = [head, "-" * (len(head) + 9)]
    for one in checks:
        at = f"{one.reading.x_px:g},{one.reading.y_px:g}"
        ends = f"{one.reading.near_m:.3f} - {one.reading.far_m:.3f}"
        verdict = "inside" if one.inside else "OUTSIDE"
        forced = " (forced)" if one.forced else ""
        lines.append(
            f"{one.photo.name:{width}}  {at:>12}  {one.tape_m:8.3f}  {one.reading.distance_m:9.3f}"
            f"  {one.error:+5.0%}  {ends:>16}  {verdict}{forced}"
        )
    inside = sum(one.inside for one in checks)
    if len(checks) > 1:
        mean = sum(abs(one.error) for one in checks) / len(checks)
        lines.append(
            f"{inside} of {len(checks)} inside ({LEVEL:.0%} expected of a calibrated model); "
            f"mean absolute error {mean:.1%}"
        )
    return "\n".join(lines)
