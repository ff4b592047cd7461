"""promotion: the trained student becomes the champion of the registry if it passes the gate."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from kedro.pipeline import Pipeline, node

from rangefinder.config import (
    CacheParams,
    CaptureParams,
    ComputeParams,
    EvaluationParams,
    Parameters,
    PromotionParams,
    RangeParams,
)
from rangefinder.errors import ConfigError
from rangefinder.pipelines import sections

if TYPE_CHECKING:
    from rangefinder.captures.manifest import CaptureSet
    from rangefinder.models.model_files import TrainedModel


def promote(
    seed: int,
    range_: RangeParams,
    capture_params: CaptureParams,
    cache: CacheParams,
    evaluation: EvaluationParams,
    promotion: PromotionParams,
    compute: ComputeParams,
    captures: CaptureSet,
    student: TrainedModel,
) -> dict[str, Any]:
    """The decision, with its reasons; a refusal is a result, not an error.

    Raises:
        ConfigError: If tracking is off: there is no registry then.
        ModelError: If the student is not registered.
    """
    from rangefinder.config.project import Project
    from rangefinder.tracking.promotion import promote_trained
    from rangefinder.tracking.runs import current_run

    run = current_run()
    if run is None:
        raise ConfigError(
            "promotion needs the registry, and tracking is off",
            todo="Set enabled: true in conf/base/tracking.yml.",
        )
    params = Parameters.only(
        seed=seed,
        range=range_,
        captures=capture_params,
        cache=cache,
        evaluation=evaluation,
        promotion=promotion,
        compute=compute,
    )
    root = Project.find(captures.folder).root
    return promote_trained(run, root, captures, student, params).content()


def create_pipeline() -> Pipeline:
    """Compare and promote."""
    return Pipeline(
        [
            node(
                promote,
                [
                    *sections(
                        "seed", "range", "captures", "cache", "evaluation", "promotion", "compute"
                    ),
                    "captures",
                    "student",
                ],
                "promotion",
                name="promote_student",
            )
        ]
    )
