"""A trained student learns on from photos that were added later."""

from __future__ import annotations

from pathlib import Path
from typing import cast

from lightning import seed_everything
from lightning.pytorch.loggers import Logger
from pydantic import Field

from rangefinder.captures.manifest import CaptureSet
from rangefinder.config import Parameters, Strict, StudentParams
from rangefinder.errors import ModelError
from rangefinder.models.io import TrainedModel, build_network
from rangefinder.models.student import Student
from rangefinder.models.teacher import Teacher
from rangefinder.training.calibrate import calibrated
from rangefinder.training.fit import Targets
from rangefinder.training.modules import StudentModule
from rangefinder.training.photos import Photos
from rangefinder.training.run import NewEpoch, TrainingRun, training_key
from rangefinder.training.sources import label_digest, taught


class AdaptationParams(Strict):
    """The whole of conf/*/adaptation.yml: how a trained student learns on from new photos."""

    epochs: int = Field(4, ge=1)
    learning_rate: float = Field(3.3e-3, gt=0, le=1, description="highest of the cycle")


def continue_student(
    student: TrainedModel,
    teacher: TrainedModel,
    captures: CaptureSet,
    targets: Targets,
    params: Parameters,
    adaptation: AdaptationParams,
    checkpoints: Path,
    logger: Logger | None,
) -> TrainedModel:
    """Go on distilling from a student's own weights.

    Old photos are learned from again together with the new ones, so that nothing is forgotten, and
    so are scenes of charts. Crops of charts are not: their part in joint sharing was to form layers
    that are there by now.

    Args:
        student: Where to start.
        teacher: The teacher that filled the cache.
        captures: All captures, old and new.
        targets: What the teacher says of every unlabelled one.
        params: All parameters; those of the student are taken from its card.
        adaptation: How long and how fast.
        checkpoints: Folder for checkpoints; removed when training is finished.
        logger: Where epoch metrics go, or None.

    Returns:
        The student of the last epoch.

    Raises:
        ModelError: If the two models do not belong together.
    """
    options = _options(student, teacher, adaptation)
    seed_everything(params.seed, verbose=False)
    train, charts = captures.select(role="unlabelled", split="train"), taught(captures)
    photos = Photos.of(
        captures, targets.read, teacher.card, params.model_copy(update={"student": options})
    )
    network = cast("Student", build_network(student.card))
    module = StudentModule(
        network,
        cast("Teacher", teacher.network),
        student.prediction,
        options,
        options.max_epochs * photos.steps,
    )
    network.load_state_dict(student.network.state_dict())  # the module starts from the teacher
    run = TrainingRun(
        folder=checkpoints,
        key=training_key(
            seed=params.seed,
            student=student.fingerprint,
            options=options.model_dump(),
            noise=params.noise.model_dump(),
            teacher=teacher.fingerprint,
            targets=targets.fingerprint,
            charts=[charts.digest, label_digest(charts), charts.blur.fingerprint],
            data=train.digest,
        ),
        max_epochs=options.max_epochs,
        compute=params.compute,
        logger=logger,
    )
    run.fit(module, photos.loaders, photos.watched, [NewEpoch(*photos.listeners)])
    changes = {"dataset": train.digest, "seed": params.seed, "cache": targets.fingerprint}
    adapted = TrainedModel(network, student.card.model_copy(update=changes))
    return calibrated(adapted, module, photos.watched, params.range.report_m)


def _options(
    student: TrainedModel, teacher: TrainedModel, adaptation: AdaptationParams
) -> StudentParams:
    """Settings of the student's card with the shorter, slower schedule."""
    own, other = student.card, teacher.card
    if own.student is None:
        raise ModelError("only a student can be adapted", got=f"a {own.kind}")
    other.camera.require(own.camera_fingerprint, "the student")
    if (own.prediction, own.teacher) != (other.prediction, other.teacher):
        raise ModelError(
            "the student was not taught by a teacher of this kind",
            todo="Adapt the student of this project, or train it with 'kedro run'.",
        )
    return own.student.model_copy(
        update={
            "sharing": "frozen" if own.student.sharing == "frozen" else "none",
            "max_epochs": adaptation.epochs,
            "learning_rate": adaptation.learning_rate,
        }
    )
