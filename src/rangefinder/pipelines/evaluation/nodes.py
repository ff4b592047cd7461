"""Held-out captures and both models -> scores and figures."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from rangefinder.config import Parameters

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

    from rangefinder.captures.manifest import CaptureSet
    from rangefinder.evaluation.metrics import Model
    from rangefinder.evaluation.score import Evaluation
    from rangefinder.models.io import TrainedModel


def score(
    parameters: Parameters, captures: CaptureSet, teacher: TrainedModel, student: TrainedModel
) -> tuple[dict[str, Any], pd.DataFrame, dict[str, Figure]]:
    """Scores of baselines, teacher and student on the test scenes; table per image; figures."""
    from rangefinder.evaluation.baselines import constant_model, median_map_model
    from rangefinder.evaluation.figures import draw_figures
    from rangefinder.evaluation.held_out import held_out
    from rangefinder.evaluation.score import evaluate

    test, limits = held_out(captures)
    usual = median_map_model(captures, test)
    models = {
        "constant": constant_model(captures, test),
        **({"median map": usual} if usual else {}),
        "teacher": _answers(teacher, test, parameters),
        "student": _answers(student, test, parameters),
    }
    evaluation = evaluate(test, models, parameters, _support(teacher, test))
    evaluation.summary["over_bound"] = _over_bound(teacher, test, evaluation, parameters)
    figures = draw_figures(test, models, evaluation, parameters)
    named = {f"{name}.png": figure for name, figure in figures.items()}
    return evaluation.summary | limits, evaluation.per_image, named


def _over_bound(
    teacher: TrainedModel, captures: CaptureSet, evaluation: Evaluation, parameters: Parameters
) -> dict[str, Any] | None:
    """Errors over what the lens allows; None for captures that no traced lens has made."""
    from rangefinder.evaluation.over_bound import over_bound
    from rangefinder.optics.survey import strong_bound_m, survey_bank

    if not np.isfinite(evaluation.regions.strong_texture):
        return None
    working_m, limit = parameters.range.working_m, parameters.limit
    bank = survey_bank(captures.camera, parameters.bank, working_m, limit)
    bound = strong_bound_m(bank, teacher.card.patch_px, limit)
    return over_bound(evaluation.sums, evaluation.regions, *bound)


def _answers(model: TrainedModel, captures: CaptureSet, parameters: Parameters) -> Model:
    from rangefinder.deploy.measure import ranger

    measure = ranger(model, captures.camera, parameters.cache)
    return lambda index: measure(captures.image(index), captures.placement(index))


def _support(teacher: TrainedModel, captures: CaptureSet) -> Any:
    """The pixels that patch centres surround, as a function of the capture's index."""
    from rangefinder.location import PatchGrid

    rows, card = captures.table, teacher.card

    def box(index: int) -> tuple[int, int, int, int]:
        height, width = int(rows["height_px"][index]), int(rows["width_px"][index])
        return PatchGrid(height, width, card.patch_px, card.stride_px).support_px

    return box
