"""teacher_training: labelled patches and their sensor locations -> teacher."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from kedro.pipeline import Pipeline, node

from rangefinder.config import (
    CaptureParams,
    ComputeParams,
    Parameters,
    PredictionParams,
    RangeParams,
    TeacherParams,
)
from rangefinder.pipelines import sections

if TYPE_CHECKING:
    from rangefinder.captures.manifest import CaptureSet
    from rangefinder.models.model_files import TrainedModel


def train(
    seed: int,
    range_: RangeParams,
    prediction: PredictionParams,
    teacher: TeacherParams,
    decoding: CaptureParams,
    compute: ComputeParams,
    captures: CaptureSet,
    checkpoints: Path,
) -> TrainedModel:
    """The patch network, trained on charts."""
    from rangefinder.tracking.runs import epoch_logger
    from rangefinder.training.assembly import train_teacher

    params = Parameters.only(
        seed=seed,
        range=range_,
        prediction=prediction,
        teacher=teacher,
        captures=decoding,
        compute=compute,
    )
    return train_teacher(captures, params, checkpoints, epoch_logger("teacher"))


def create_pipeline() -> Pipeline:
    """Train the teacher."""
    return Pipeline(
        [
            node(
                train,
                [
                    *sections("seed", "range", "prediction", "teacher", "captures", "compute"),
                    "captures",
                    "teacher_checkpoints",
                ],
                "teacher",
                name="train_teacher",
            )
        ]
    )
