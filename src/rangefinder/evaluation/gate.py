"""The gate: whether a candidate may take the champion's place, rule by rule, with the numbers.

Both are scored on the same pixels of the same captures by `scoring.evaluate`; this compares.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from rangefinder.common.timing import Timing
from rangefinder.config import PromotionParams
from rangefinder.evaluation.headline import CONSTANT, beats_constant

CANDIDATE, CHAMPION = "candidate", "champion"  # names of the models in the summary
_MS = 1000.0


@dataclass(frozen=True)
class Check:
    """One rule, whether it holds, and the numbers that it was checked with."""

    rule: str
    holds: bool
    numbers: str


def checks(
    summary: dict[str, Any], latency: Mapping[str, Timing], params: PromotionParams
) -> list[Check]:
    """Check a candidate against the champion, or against the best constant where there is none.

    Args:
        summary: What `evaluate` gave for models named `constant`, `champion` (or not) and
            `candidate`, in this order.
        latency: Time of one photo by these two, measured in turns.
        params: Margin and tolerances.
    """
    models = summary["models"]
    found = [_against_constant(summary)]
    if CHAMPION in models:
        found.append(_margin(summary, params.margin))
        found.append(_calibration(models, params.calibration_tolerance))
        found += _regions(models, "by_distance_m", "{} m", params.distance_tolerance)
        found += _regions(models, "by_edge", "{} edges", params.edge_tolerance, ("near",))
        found.append(_latency(latency, params.latency_tolerance))
    return found


def _against_constant(summary: dict[str, Any]) -> Check:
    own, constant = (_abs_rel(summary["models"][name]) for name in (CANDIDATE, CONSTANT))
    return Check(
        "better than the best constant",
        beats_constant(summary, CANDIDATE),
        f"AbsRel {own:.3f} against {constant:.3f}",
    )


def _margin(summary: dict[str, Any], margin: float) -> Check:
    """The ratio has to be below 1 by a margin, and the end of its interval below 1."""
    found = summary["comparisons"][f"{CANDIDATE}/{CHAMPION}"]["abs_rel"]
    ratio, low, high = found["ratio"], found["low"], found["high"]
    most = 1 - margin
    spread = "" if high is None else f"; 95 % over scenes {low:.3f} to {high:.3f}, to end below 1"
    return Check(
        "better than the champion",
        bool(ratio <= most and (high is None or high < 1)),
        f"{ratio:.3f} times its AbsRel, at most {most:g}{spread}",
    )


def _calibration(models: Mapping[str, Any], tolerance: float) -> Check:
    own, other = (_miss(models[name]) for name in (CANDIDATE, CHAMPION))
    return Check(
        "calibrated no worse",
        own <= other + tolerance,
        f"intervals miss their level by up to {own:.3f}, the champion's by {other:.3f}; "
        f"at most {tolerance:g} more",
    )


def _regions(
    models: Mapping[str, Any],
    group: str,
    label: str,
    tolerance: float,
    names: tuple[str, ...] | None = None,
) -> Iterator[Check]:
    """One check for each region that has pixels."""
    for name, scores in models[CHAMPION][group].items():
        if (names and name not in names) or not scores["abs_rel"]:
            continue
        ratio = models[CANDIDATE][group][name]["abs_rel"] / scores["abs_rel"]
        yield Check(
            f"no worse at {label.format(name)}",
            ratio <= 1 + tolerance,
            f"{ratio:.3f} times the champion's AbsRel; at most {1 + tolerance:g}",
        )


def _latency(latency: Mapping[str, Timing], tolerance: float) -> Check:
    """Compare lower quartiles: what else the machine does only adds to a time."""
    own, other = (latency[name].low_s for name in (CANDIDATE, CHAMPION))
    return Check(
        "no slower",
        own <= other * (1 + tolerance),
        f"{own * _MS:.1f} ms a photo against {other * _MS:.1f} ms; at most {1 + tolerance:g} times",
    )


def _abs_rel(scores: Mapping[str, Any]) -> float:
    return float(scores["overall"]["abs_rel"])


def _miss(scores: Mapping[str, Any]) -> float:
    """Largest difference between an interval's level and the share of pixels within it."""
    return max(abs(float(share) - float(level)) for level, share in scores["coverage"].items())
