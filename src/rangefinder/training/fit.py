"""Training of both networks: which captures, which network, which card."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from contextlib import closing
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Protocol, cast

from lightning import seed_everything
from lightning.pytorch.loggers import Logger
from torch import Tensor
from torch.utils.data import DataLoader

from rangefinder.captures.manifest import CaptureSet, Role
from rangefinder.config import Parameters
from rangefinder.errors import CaptureError
from rangefinder.models.device import beside_workers, torch_device
from rangefinder.models.io import Card, TrainedModel
from rangefinder.models.own import OwnTeacher, build_teacher, code_digest
from rangefinder.models.prediction import Prediction
from rangefinder.models.student import Student
from rangefinder.models.teacher import Teacher
from rangefinder.training.calibrate import calibrated
from rangefinder.training.charts import ChartCrops, CropPlan, EpochNumbers
from rangefinder.training.data import LabelledFrames, SameSizeBatches, UnlabelledFrames
from rangefinder.training.fading import Fading
from rangefinder.training.feed import Ahead, DataWait
from rangefinder.training.laid import LaidCharts
from rangefinder.training.modules import StudentModule, TeacherModule
from rangefinder.training.pooling import Lessons
from rangefinder.training.run import NewEpoch, TrainingRun, training_key
from rangefinder.workers import deaths_explained


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
        closing(Ahead(_crop_loader(crops, numbers, workers), device)) as batches,
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
) -> TrainedModel:
    """Train the whole-image network on unlabelled photos against the teacher's predictions.

    Args:
        captures: All captures; unlabelled ones of the training split are learned from, without
            their distances. Labelled scenes of the validation split are only watched.
        teacher: The teacher that filled the cache.
        targets: Its predictions for every unlabelled capture.
        params: All parameters.
        checkpoints: Folder for checkpoints; removed when training is finished.
        logger: Where epoch metrics go, or None.

    Returns:
        The student of the last epoch.
    """
    seed_everything(params.seed, verbose=False)
    card, options = teacher.card, params.student
    network = Student(options, card.teacher, card.prediction.bins)
    train = captures.select(role="unlabelled", split="train")
    photos = Photos.of(captures, targets.read, card, params, teacher.prediction)
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
            charts=[taught(captures).digest, label_digest(taught(captures))],
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
    return calibrated(TrainedModel(network, student_card), module, photos.watched)


@dataclass(frozen=True)
class Photos:
    """What distillation draws its batches from.

    Attributes:
        loaders: Batches of unlabelled photos with targets; with joint sharing also of chart crops.
        watched: Labelled validation scenes.
        listeners: What wants to know the epoch.
        steps: Batches per epoch.
    """

    loaders: dict[str, Ahead | DataLoader[Any]]
    watched: DataLoader[Any]
    listeners: list[object]
    steps: int

    @classmethod
    def of(
        cls,
        captures: CaptureSet,
        targets: Callable[[str], Tensor],
        card: Card,
        params: Parameters,
        prediction: Prediction | None = None,
    ) -> Photos:
        """Arrange captures for a student under these parameters.

        `prediction` unpacks the targets; None: as the card says.
        """
        options, grid = params.student, (card.patch_px, card.stride_px)
        train = captures.select(role="unlabelled", split="train")
        packing = prediction or Prediction(card.prediction)
        device = torch_device(params.compute.device)
        lessons = Lessons(targets, packing, options.pooling, device)
        fading = Fading(options.faded_share, params.noise)
        frames = UnlabelledFrames(train, lessons, *grid, params.seed, options.crop_px, fading)
        batches = SameSizeBatches(train, options.batch_size, params.seed)
        photos = Ahead(DataLoader(frames, batch_sampler=batches), device)
        loaders: dict[str, Ahead | DataLoader[Any]] = {"photos": photos}
        listeners: list[object] = [frames, batches]
        laid = LaidCharts(taught(captures), options.laid_charts, *grid, params.seed)
        if len(laid) > 0:
            numbers = EpochNumbers(len(batches))
            loaders["laid"] = Ahead(DataLoader(laid, sampler=numbers), device)
            listeners.append(numbers)
        if options.sharing == "joint":
            plan = replace(crop_plan(params), steps=len(batches))
            crops = ChartCrops(taught(captures), plan, *grid)
            numbers = EpochNumbers(plan.steps)
            loaders["charts"] = _crop_loader(crops, numbers)
            listeners.append(numbers)
        frames_watched = LabelledFrames(watched(captures), *grid)
        return cls(loaders, DataLoader(frames_watched), listeners, len(batches))


def _crop_loader(
    crops: ChartCrops, numbers: EpochNumbers, workers: int = 0
) -> DataLoader[dict[str, Tensor]]:
    return DataLoader(
        crops, None, sampler=numbers, num_workers=workers, persistent_workers=workers > 0
    )


def label_digest(captures: CaptureSet) -> str:
    """Hash of what is known of distances: numbers, maps and masks. Ids are of pixels only."""
    digest = hashlib.sha256()
    for row in captures.table.sort_values("capture_id").to_dict("records"):
        digest.update(f"{row['capture_id']} {row['distance_m']}".encode())
        for column in ("distance_map", "valid_mask"):
            if isinstance(row[column], str):
                digest.update((captures.folder / row[column]).read_bytes())
    return digest.hexdigest()


def crop_plan(params: Parameters) -> CropPlan:
    """How chart crops are drawn under these parameters."""
    options = params.teacher
    return CropPlan(
        options.crop_px,
        options.batch_size,
        options.steps_per_epoch,
        params.seed,
        options.edge_step,
        options.edge_band_px,
        options.occluded_share,
        options.relit,
        options.mapped_share,
    )


def taught(captures: CaptureSet) -> CaptureSet:
    """What the teacher learns from: charts, and captures with distance maps."""
    return captures.select(role=("chart", "labelled"), split="train")


def watched(captures: CaptureSet) -> CaptureSet:
    """What a training is watched on: labelled validation scenes, or charts where there are none.

    Raises:
        CaptureError: If there is neither.
    """
    roles: tuple[Role, ...] = ("labelled", "chart")
    for role in roles:
        found = captures.select(role=role, split="validation")
        if len(found):
            return found
    raise CaptureError(
        "there is no validation capture, so training would not know when to stop",
        expected="labelled captures or charts of the validation split",
        todo="Bring captures of more scenes or chart sheets, or name splits in the table.",
    )
