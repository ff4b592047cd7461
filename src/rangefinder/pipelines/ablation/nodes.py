"""Captures -> what each part of the method is worth."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from rangefinder.config import Parameters

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

    from rangefinder.captures.manifest import CaptureSet


def compare_variants(
    parameters: Parameters, captures: CaptureSet, folder: Path
) -> tuple[pd.DataFrame, Figure, dict[str, Any]]:
    """Scores of every variant and seed, their figure, and which claims hold."""
    from rangefinder.deploy.ablation import ablate
    from rangefinder.evaluation.ablation_figure import ablation_figure
    from rangefinder.evaluation.claims import summary

    table = ablate(captures, parameters, folder)
    return table, ablation_figure(table), summary(table)
