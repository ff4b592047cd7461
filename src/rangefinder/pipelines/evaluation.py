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
    evaluation.summary["crlb_ratio"] = _crlb_ratio(teacher, test, evaluation, params, psf_banks)
    figures = draw_figures(test, models, evaluation, params)
    named = {f"{name}.png": figure for name, figure in figures.items()}
    return {
        "evaluation": evaluation.summary | limits,
        "metrics": headline(evaluation.summary),
        "per_image": evaluation.per_image,
        "error_by_distance": error_by_distance(evaluation),
        "reliability": reliability(evaluation),
        "risk_coverage": risk_coverage(evaluation),
        "figures": named,
    }


def _crlb_ratio(
    teacher: TrainedModel,
    captures: CaptureSet,
    evaluation: Evaluation,
    params: Parameters,
    psf_banks: Path,
) -> dict[str, Any] | None:
    """Errors over the Cramer-Rao bound; None for captures that no traced lens has made."""
    from rangefinder.evaluation.summary import crlb_ratio
    from rangefinder.optics.identifiability import strong_texture_bound_m
    from rangefinder.optics.psf_bank import bank_for

    if not np.isfinite(evaluation.regions.strong_texture):
        return None
    bank = bank_for(captures.camera, params.bank, params.range.working_m, psf_banks)
    bound = strong_texture_bound_m(bank, teacher.card.patch_px, params.identifiability)
    return crlb_ratio(evaluation.sums, evaluation.regions, *bound)


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
