"""Training of both networks: which captures, which network, which card."""

from __future__ import annotations

import logging
from contextlib import closing
from dataclasses import asdict, replace
from pathlib import Path
from typing import Protocol, cast

from lightning import seed_everything
from lightning.pytorch.loggers import Logger
from torch import Tensor
from torch.utils.data import DataLoader

from rangefinder.captures.manifest import CaptureSet
from rangefinder.config import Parameters, StudentParams
from rangefinder.models.device import beside_workers, torch_device
from rangefinder.models.io import Card, TrainedModel
from rangefinder.models.own import OwnTeacher, build_teacher, code_digest
from rangefinder.models.prediction import Prediction
from rangefinder.models.student import Student
from rangefinder.models.teacher import Teacher
from rangefinder.training.calibrate import calibrated, leaning_range
from rangefinder.training.charts import ChartCrops, EpochNumbers, crop_loader
from rangefinder.training.data import LabelledFrames
from rangefinder.training.feed import Ahead, DataWait
from rangefinder.training.laid import LaidCharts
from rangefinder.training.modules import StudentModule, TeacherModule
from rangefinder.training.photos import Photos
from rangefinder.training.run import NewEpoch, TrainingRun, training_key
from rangefinder.training.sources import crop_plan, label_digest, taught, watched
from rangefinder.workers import deaths_explained

FEW_SCENES = (
    "%d scenes of charts show where things end, instead of %d: there must be two charts, of one "
    "size, that fill their photos, and memory for the scenes"
)
BY_COLOUR_ALONE = 0.1  # most `agreement_sd` that serves where nothing else tells borders
log = logging.getLogger(__name__)


class Targets(Protocol):
    """What distillation needs of a teacher cache."""

    @property
    def fingerprint(self) -> str:
        """Fingerprint of the cache."""

    def read(self, capture_id: str) -> Tensor:
        """Packed predictions `[rows, cols, bytes]` uint8 of one capture."""


def train_teacher(
    captures: CaptureSet, params: Parameters, checkpoints: Path, logger: Logger | None
) -> TrainedModel:
    """Train the patch network on the training charts.

    Args:
        captures: All captures; charts and labelled captures of the training split are learned,
            labelled scenes of the validation split stop the training.
        params: All parameters.
        checkpoints: Folder for checkpoints; removed when training is finished.
        logger: Where epoch metrics go, or None.

    Returns:
        The best teacher by validation.

    Raises:
        CaptureError: If there is nothing to learn from, or nothing to be watched on.
        WorkerError: If a process that draws crops is killed.
    """
    seed_everything(params.seed, verbose=False)
    train, validation = taught(captures), watched(captures)
    options = params.teacher
    network = build_teacher(options, params.prediction.bins)
    plan, stride_px = crop_plan(params), network.stride_px
    if isinstance(network, OwnTeacher):  # it may answer for single patches only
        plan, stride_px = replace(plan, crop_px=network.patch_px), network.patch_px
    crops = ChartCrops(train, plan, network.patch_px, network.stride_px)
    frames = LabelledFrames(validation, network.patch_px, stride_px)
    module = TeacherModule(
        network,
        Prediction(params.prediction),
        options,
        options.max_epochs * options.steps_per_epoch,
    )
    run = TrainingRun(
        folder=checkpoints,
        key=teacher_key(captures, params),
        max_epochs=options.max_epochs,
        patience=options.patience_epochs,
        compute=beside_workers(params.compute),
        logger=logger,
    )
    frame_loader = DataLoader(frames)
    numbers, workers = EpochNumbers(plan.steps), params.compute.workers
    device = torch_device(params.compute.device)
    with (
        closing(Ahead(crop_loader(crops, numbers, workers), device)) as batches,
        deaths_explained(workers, "compute.workers"),
    ):
        run.fit(module, batches, frame_loader, [NewEpoch(numbers), DataWait()])
    teacher = TrainedModel(network, teacher_card(captures, network, params))
    return calibrated(teacher, module, frame_loader)


def teacher_key(captures: CaptureSet, params: Parameters) -> str:
    """Hash of everything that the training of a teacher depends on."""
    train, validation = taught(captures), watched(captures)
    return training_key(
        seed=params.seed,
        teacher=params.teacher.model_dump(),
        code=code_digest(build_teacher(params.teacher, params.prediction.bins)),
        prediction=params.prediction.model_dump(),
        data=[*map(label_digest, (train, validation)), train.digest, validation.digest],
        blur=captures.blur.fingerprint,
    )


def teacher_card(captures: CaptureSet, network: Teacher | OwnTeacher, params: Parameters) -> Card:
    """What a teacher that was trained on these captures says of itself."""
    return Card(
        kind="teacher",
        camera=captures.camera,
        camera_fingerprint=captures.camera.fingerprint,
        teacher=params.teacher,
        prediction=params.prediction,
        patch_px=network.patch_px,
        stride_px=network.stride_px,
        dataset=taught(captures).digest,
        seed=params.seed,
    )


def distil_student(
    captures: CaptureSet,
    teacher: TrainedModel,
    targets: Targets,
    params: Parameters,
    checkpoints: Path,
    logger: Logger | None,
    charts: CaptureSet | None = None,
) -> TrainedModel:
    """Train the whole-image network on unlabelled photos against the teacher's predictions.

    Args:
        captures: All captures; unlabelled ones of the training split are learned from, without
            their distances. Of charts it is learned where things end and which side is which, with
            joint sharing their distances too. Labelled scenes of the validation split are only
            watched.
        teacher: The teacher that filled the cache.
        targets: Its predictions for every unlabelled capture.
        params: All parameters.
        checkpoints: Folder for checkpoints; removed when training is finished.
        logger: Where epoch metrics go, or None.
        charts: What scenes are made of; None: the training charts among the captures.

    Returns:
        The student of the last epoch.
    """
    seed_everything(params.seed, verbose=False)
    card, options = teacher.card, params.student
    train = captures.select(role="unlabelled", split="train")
    charts = taught(captures) if charts is None else charts
    laid = LaidCharts(charts, options, params.seed)
    if len(laid) < options.laid_charts:
        log.info(FEW_SCENES, len(laid), options.laid_charts)
    options = _with_scenes(options, len(laid))
    network = Student(options, card.teacher, card.prediction.bins)
    photos = Photos.of(captures, targets.read, card, params, teacher.prediction, laid)
    module = StudentModule(
        network,
        cast("Teacher | OwnTeacher", teacher.network),
        teacher.prediction,
        options,
        options.max_epochs * photos.steps,
    )
    run = TrainingRun(
        folder=checkpoints,
        key=training_key(
            seed=params.seed,
            student=options.model_dump(),
            noise=params.noise.model_dump(),
            teacher=teacher.fingerprint,
            targets=targets.fingerprint,
            charts=[charts.digest, label_digest(charts), charts.blur.fingerprint],
            crops=asdict(crop_plan(params)),
            data=train.digest,
        ),
        max_epochs=options.max_epochs,
        compute=params.compute,
        logger=logger,
    )
    run.fit(module, photos.loaders, photos.watched, [NewEpoch(*photos.listeners), DataWait()])
    changes = {"kind": "student", "student": options, "dataset": train.digest, "seed": params.seed}
    student_card = card.model_copy(update=changes | {"cache": targets.fingerprint})
    leaning = leaning_range(captures, params.range.report_m)
    return calibrated(TrainedModel(network, student_card), module, photos.watched, leaning)


def _with_scenes(options: StudentParams, scenes: int) -> StudentParams:
    """Options of a student that is shown so many scenes of charts.

    One that is shown none knows no borders, so colours alone have to keep neighbours apart.
    """
    changes: dict[str, float] = {"laid_charts": scenes}
    if scenes == 0 and options.agreement_sd is not None:
        changes["agreement_sd"] = min(options.agreement_sd, BY_COLOUR_ALONE)
    return options.model_copy(update=changes)
