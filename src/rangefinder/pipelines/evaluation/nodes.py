"""Held-out captures and both models -> scores and figures."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from rangefinder.config import Parameters

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

    from rangefinder.captures.manifest import CaptureSet
    from rangefinder.evaluation.score import Evaluation
    from rangefinder.models.io import TrainedModel


def score(
    parameters: Parameters,
    captures: CaptureSet,
    teacher: TrainedModel,
    student: TrainedModel,
    psf_banks: Path,
) -> tuple[dict[str, Any], pd.DataFrame, dict[str, Figure]]:
    """Scores of baselines, teacher and student on the test scenes; table per image; figures."""
    from rangefinder.deploy.answers import answers, support
    from rangefinder.evaluation.baselines import constant_model, median_map_model
    from rangefinder.evaluation.figures import draw_figures
    from rangefinder.evaluation.held_out import held_out
    from rangefinder.evaluation.score import evaluate

    test, limits = held_out(captures)
    usual = median_map_model(captures, test)
    models = {
        "constant": constant_model(captures, test),
        **({"median map": usual} if usual else {}),
        "teacher": answers(teacher, test, parameters.cache),
        "student": answers(student, test, parameters.cache),
    }
    evaluation = evaluate(test, models, parameters, support(teacher.card, test))
    evaluation.summary["over_bound"] = _over_bound(teacher, test, evaluation, parameters, psf_banks)
    figures = draw_figures(test, models, evaluation, parameters)
    named = {f"{name}.png": figure for name, figure in figures.items()}
    return evaluation.summary | limits, evaluation.per_image, named


def _over_bound(
    teacher: TrainedModel,
    captures: CaptureSet,
    evaluation: Evaluation,
    parameters: Parameters,
    psf_banks: Path,
) -> dict[str, Any] | None:
    """Errors over what the lens allows; None for captures that no traced lens has made."""
    from rangefinder.evaluation.over_bound import over_bound
    from rangefinder.optics.lens import bank_for
    from rangefinder.optics.survey import strong_bound_m

    if not np.isfinite(evaluation.regions.strong_texture):
        return None
    working_m = parameters.range.working_m
    bank = bank_for(captures.camera, parameters.bank, working_m, psf_banks)
    bound = strong_bound_m(bank, teacher.card.patch_px, parameters.limit)
    return over_bound(evaluation.sums, evaluation.regions, *bound)
