"""evaluation: baselines, teacher and student on held-out captures -> scores and figures."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from kedro.pipeline import Pipeline, node

from rangefinder.config import (
    BankParams,
    CacheParams,
    CaptureParams,
    ComputeParams,
    EvaluationParams,
    IdentifiabilityParams,
    Parameters,
    RangeParams,
)
from rangefinder.pipelines import sections

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from rangefinder.captures.manifest import CaptureSet
    from rangefinder.evaluation.scoring import Evaluation
    from rangefinder.models.model_files import TrainedModel

RESULTS = (
    "evaluation",
    "metrics",
    "per_image",
    "error_by_distance",
    "reliability",
    "risk_coverage",
    "figures",
)


def score(
    seed: int,
    range_: RangeParams,
    bank: BankParams,
    capture_params: CaptureParams,
    cache: CacheParams,
    evaluation_params: EvaluationParams,
    identifiability: IdentifiabilityParams,
    compute: ComputeParams,
    captures: CaptureSet,
    teacher: TrainedModel,
    student: TrainedModel,
    psf_banks: Path,
) -> dict[str, Any]:
    """Scores of baselines, teacher and student on the test captures, in full and in short.

    Returns:
        By dataset: content of evaluation.json and metrics.json, tables per image and of curves,
        figures.
    """
    from rangefinder.evaluation.baselines import constant_model, row_model
    from rangefinder.evaluation.figures import draw_figures
    from rangefinder.evaluation.headline import headline
    from rangefinder.evaluation.plot_tables import error_by_distance, reliability, risk_coverage
    from rangefinder.evaluation.scoring import evaluate, held_out
    from rangefinder.inference.predictor import capture_predictions, common_support

    params = Parameters.only(
        seed=seed,
        range=range_,
        bank=bank,
        captures=capture_params,
        evaluation=evaluation_params,
        identifiability=identifiability,
    )
    test, limits = held_out(captures)
    rows = row_model(captures, test)
    models = {
        "constant": constant_model(captures, test),
        **({"row constant": rows} if rows else {}),
        "teacher": capture_predictions(teacher, test, cache, compute.device),
        "student": capture_predictions(student, test, cache, compute.device),
    }
    evaluation = evaluate(test, models, params, common_support(teacher.card, test))
    figures = draw_figures(test, models, evaluation, params)
    allowed, bound = _lens_limits(teacher, test, evaluation, params, psf_banks)
    summary = evaluation.summary | allowed
    return {
        "evaluation": {"student": student.fingerprint, **summary, **limits},
        "metrics": headline(evaluation.summary),
        "per_image": evaluation.per_image,
        "error_by_distance": error_by_distance(evaluation),
        "reliability": reliability(evaluation),
        "risk_coverage": risk_coverage(evaluation),
        "figures": figures | bound,
    }


def _lens_limits(
    teacher: TrainedModel,
    captures: CaptureSet,
    evaluation: Evaluation,
    params: Parameters,
    psf_banks: Path,
) -> tuple[dict[str, Any], dict[str, Figure]]:
    """What the lens allows, for the summary: a verdict, errors over the Cramer-Rao bound.

    Both are None for captures that no traced lens has made.

    Returns:
        Both, and their figure, by name.
    """
    from rangefinder.evaluation.figures import draw_bound
    from rangefinder.evaluation.summary import crlb_ratio
    from rangefinder.optics.identifiability import (
        gap_within,
        strong_texture_bound_m,
        told_apart_m,
        verdict,
        weak_texture_bound_m,
    )
    from rangefinder.optics.psf_bank import bank_for

    working_m = params.range.working_m
    if not np.isfinite(evaluation.regions.strong_texture):
        return {"identifiability": None, "crlb_ratio": None}, {}
    bank = bank_for(captures.camera, params.bank, working_m, psf_banks)
    patch_px, gap = teacher.card.patch_px, gap_within(working_m, params.identifiability.least_gap)
    distances_m, strong_m = strong_texture_bound_m(bank, patch_px, params.identifiability)
    _, weak_m = weak_texture_bound_m(bank, patch_px, params.identifiability)
    identifiability = verdict(working_m, told_apart_m(distances_m, weak_m, gap), gap)
    ratio = crlb_ratio(evaluation.sums, evaluation.regions, distances_m, strong_m)
    bounds = {"strong": strong_m, "weak": weak_m}
    figure = draw_bound(ratio, distances_m, bounds, params.range.report_m)
    return {"identifiability": identifiability, "crlb_ratio": ratio}, {"cramer_rao": figure}


def create_pipeline() -> Pipeline:
    """Score and draw."""
    return Pipeline(
        [
            node(
                score,
                [
                    *sections(
                        "seed",
                        "range",
                        "bank",
                        "captures",
                        "cache",
                        "evaluation",
                        "identifiability",
                        "compute",
                    ),
                    "captures",
                    "teacher",
                    "student",
                    "psf_banks",
                ],
                {name: name for name in RESULTS},
                name="score_models",
            )
        ]
    )
