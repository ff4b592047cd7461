"""One assembly of every training: which captures, which network, which data, which card.

Teacher, student and adaptation are put together from the same pieces: `StudentData` for the
batches, `TrainingRun` for the trainer, `calibrate` for what is fitted on validation captures
afterwards.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from contextlib import closing
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Protocol, Self, cast

from lightning import seed_everything
from lightning.pytorch.loggers import Logger
from torch import Tensor
from torch.utils.data import DataLoader

from rangefinder.captures.manifest import CaptureSet, Role
from rangefinder.common.compute import explain_worker_death
from rangefinder.config import AdaptationParams, Interval, Parameters, StudentParams
from rangefinder.errors import CaptureError, ModelError
from rangefinder.models.card import Card
from rangefinder.models.device import threads_beside_workers, torch_device
from rangefinder.models.distribution import DistanceDistribution
from rangefinder.models.model_files import TrainedModel, build_network
from rangefinder.models.student import Student
from rangefinder.models.teacher import CustomTeacher, Teacher, build_teacher, code_digest
from rangefinder.training.augmentation import ContrastAttenuation
from rangefinder.training.calibration import calibrate, with_photo_domain
from rangefinder.training.chart_crops import ChartCrops, CropPlan, EpochNumbers, crop_loader
from rangefinder.training.compositing import CompositedScenes
from rangefinder.training.frames import LabelledFrames, SameSizeBatches, UnlabelledFrames
from rangefinder.training.lightning_modules import StudentModule, TeacherModule
from rangefinder.training.runner import DataWait, NewEpoch, Prefetcher, TrainingRun, training_key
from rangefinder.training.targets import DistillationTargets

log = logging.getLogger(__name__)


class TeacherPredictions(Protocol):
    """What distillation needs of a teacher cache."""

    @property
    def fingerprint(self) -> str:
        """Fingerprint of the cache."""

    def read(self, capture_id: str) -> Tensor:
        """Packed predictions `[rows, cols, bytes]` uint8 of one capture."""


def train_teacher(
    captures: CaptureSet, params: Parameters, checkpoints: Path, logger: Logger | None
) -> TrainedModel:
    """Train the patch network.

    Args:
        captures: All captures. Charts and labelled captures of the training split are trained on,
            labelled captures of the validation split stop the training early.
        params: `seed`, `range`, `prediction`, `teacher` and `compute` are used.
        checkpoints: Folder for checkpoints; see `TrainingRun`.
        logger: Where epoch metrics go, or None.

    Returns:
        The best teacher by validation loss, calibrated.

    Raises:
        CaptureError: If there is nothing to train or to validate on, or a capture is damaged.
        WorkerError: If a data-loader process is killed.
    """
    captures.verify()
    seed_everything(params.seed, verbose=False)
    train, validation = training_split(captures), validation_split(captures)
    options = params.teacher
    network = build_teacher(options, params.prediction.bins)
    plan, stride_px = CropPlan.of(params), network.stride_px
    if isinstance(network, CustomTeacher):  # it may accept single patches only
        log.info("Crops are single patches of %d px, not teacher.crop_px", network.patch_px)
        plan, stride_px = replace(plan, crop_px=network.patch_px), network.patch_px
    crops = ChartCrops(train, plan, network.patch_px, network.stride_px)
    frames = DataLoader(LabelledFrames(validation, network.patch_px, stride_px))
    module = TeacherModule(
        network,
        DistanceDistribution(params.prediction),
        options,
        options.max_epochs * options.steps_per_epoch,
    )
    run = TrainingRun(
        folder=checkpoints,
        key=teacher_key(captures, params),
        max_epochs=options.max_epochs,
        patience=options.patience_epochs,
        compute=threads_beside_workers(params.compute),
        logger=logger,
    )
    numbers, workers = EpochNumbers(plan.steps), params.compute.workers
    device = torch_device(params.compute.device)
    with (
        closing(Prefetcher(crop_loader(crops, numbers, workers), device)) as batches,
        explain_worker_death(workers, "compute.workers"),
    ):
        run.fit(module, batches, frames, [NewEpoch(numbers), DataWait()])
    model = calibrate(
        TrainedModel(network, teacher_card(captures, network, params)), module, frames
    )
    return with_photo_domain(model, module, frames, train, params.range.report_m)


@dataclass(frozen=True)
class Distillation:
    """Trains students on unlabelled photos against one teacher's cached predictions.

    Attributes:
        captures: All captures. Unlabelled ones of the training split are trained on, without their
            distances. Charts train occlusion boundaries and the ranking of distances across them;
            with joint sharing, the shared stem too. Labelled captures of the validation split are
            for validation only.
    """

    captures: CaptureSet
    teacher: TrainedModel  # the teacher that filled the cache
    cache: TeacherPredictions  # its predictions for every unlabelled capture
    params: Parameters  # `seed`, `teacher`, `student`, `noise`, `range` and `compute` are used
    checkpoints: Path  # folder for checkpoints; see `TrainingRun`
    logger: Logger | None = None  # where epoch metrics go, or None

    def distil(self, charts: CaptureSet | None = None) -> TrainedModel:
        """Train a new student; the one of the last epoch is calibrated.

        Args:
            charts: What scenes are composited of; None: the training charts among the captures.

        Raises:
            CaptureError: If a capture is damaged.
        """
        self.captures.verify()
        params = self.params
        seed_everything(params.seed, verbose=False)
        charts = training_split(self.captures) if charts is None else charts
        scenes = CompositedScenes(charts, params.student, params.teacher, params.seed)
        options = _options_for(params.student, len(scenes))
        card = self.teacher.card.model_copy(update={"kind": "student", "student": options})
        return self._fit(card, options, charts, scenes)

    def adapt(self, student: TrainedModel, adaptation: AdaptationParams) -> TrainedModel:
        """Continue a student's distillation on old and new photos, with a shorter, slower schedule.

        Old photos are replayed together with the new ones against forgetting, and so are
        composited scenes. Chart crops are not: they formed a joint stem, which is formed by now.

        Args:
            student: Where to start; options of the network are its card's.
            adaptation: Epochs and learning rate.

        Raises:
            CaptureError: If a capture is damaged.
            ModelError: If the two models do not belong together.
        """
        self.captures.verify()
        options, params = _adaptation_options(student, self.teacher, adaptation), self.params
        seed_everything(params.seed, verbose=False)
        charts = training_split(self.captures)
        scenes = CompositedScenes(charts, options, params.teacher, params.seed)
        return self._fit(student.card, options, charts, scenes, start=student)

    def _fit(
        self,
        card: Card,
        options: StudentParams,
        charts: CaptureSet,
        scenes: CompositedScenes,
        start: TrainedModel | None = None,
    ) -> TrainedModel:
        """Train and calibrate the student of a card."""
        teacher, params = self.teacher, self.params.model_copy(update={"student": options})
        network = cast("Student", build_network(card))
        targets, distribution = self.cache.read, teacher.distribution
        data = StudentData.of(self.captures, targets, teacher.card, params, distribution, scenes)
        module = StudentModule(
            network,
            cast("Teacher | CustomTeacher", teacher.network),
            teacher.distribution,
            options,
            options.max_epochs * data.steps,
        )
        if start is not None:  # the module begins from the teacher
            network.load_state_dict(start.network.state_dict())
        photos = self.captures.select(role="unlabelled", split="train").digest
        key = training_key(
            seed=params.seed,
            student=options.model_dump(),
            noise=params.noise.model_dump(),
            teacher=teacher.fingerprint,
            targets=self.cache.fingerprint,
            charts=[charts.digest, charts.blur.fingerprint],
            data=photos,
            crops=asdict(CropPlan.of(params)),
            start=start and start.fingerprint,
        )
        run = TrainingRun(self.checkpoints, key, options.max_epochs, params.compute, self.logger)
        run.fit(module, data.loaders, data.validation, [NewEpoch(*data.epoch_aware), DataWait()])
        made_from = {"dataset": photos, "seed": params.seed, "cache": self.cache.fingerprint}
        model = TrainedModel(network, card.model_copy(update=made_from))
        model = calibrate(model, module, data.validation, tilt_range_m(self.captures, params))
        trained_on = self.captures.select(role="unlabelled", split="train")
        report_m = params.range.report_m
        return with_photo_domain(model, module, data.validation, trained_on, report_m)


@dataclass(frozen=True)
class StudentData:
    """Batches of a distillation.

    Attributes:
        loaders: Batches of unlabelled photos with targets; of composited scenes, if there are any;
            with joint sharing also of chart crops.
    """

    loaders: dict[str, Prefetcher | DataLoader[Any]]
    validation: DataLoader[Any]  # labelled validation captures, one at a time
    epoch_aware: list[object]  # data sets and samplers whose `epoch` is to be set
    steps: int  # batches per epoch

    @classmethod
    def of(
        cls,
        captures: CaptureSet,
        targets: Callable[[str], Tensor],
        card: Card,
        params: Parameters,
        distribution: DistanceDistribution,
        scenes: CompositedScenes,
    ) -> Self:
        """Arrange captures for a student.

        Args:
            captures: All captures.
            targets: capture_id -> the teacher's packed predictions.
            card: The teacher's.
            params: `seed`, `teacher`, `student`, `noise` and `compute` are used.
            distribution: Unpacks the predictions.
            scenes: Composited scenes; there may be none.
        """
        options, grid = params.student, (card.patch_px, card.stride_px)
        train = captures.select(role="unlabelled", split="train")
        device = torch_device(params.compute.device)
        distillation_targets = DistillationTargets(
            targets, distribution, options.target_aggregation, device
        )
        attenuation = ContrastAttenuation(
            options.attenuated_share, options.min_contrast, params.noise
        )
        frames = UnlabelledFrames(
            train, distillation_targets, *grid, params.seed, options.crop_px, attenuation
        )
        batches = SameSizeBatches(train, options.batch_size, params.seed)
        photos = Prefetcher(DataLoader(frames, batch_sampler=batches), device)
        loaders: dict[str, Prefetcher | DataLoader[Any]] = {"photos": photos}
        epoch_aware: list[object] = [frames, batches]
        if len(scenes) > 0:
            numbers = EpochNumbers(len(batches))
            loaders["scenes"] = Prefetcher(DataLoader(scenes, sampler=numbers), device)
            epoch_aware.append(numbers)
        if options.sharing == "joint":
            plan = replace(CropPlan.of(params), steps=len(batches))
            crops = ChartCrops(training_split(captures), plan, *grid)
            numbers = EpochNumbers(plan.steps)
            loaders["charts"] = crop_loader(crops, numbers)
            epoch_aware.append(numbers)
        validation = DataLoader(LabelledFrames(validation_split(captures), *grid))
        return cls(loaders, validation, epoch_aware, len(batches))


def training_split(captures: CaptureSet) -> CaptureSet:
    """What the teacher is trained on: charts, and captures with distance maps."""
    return captures.select(role=("chart", "labelled"), split="train")


def validation_split(captures: CaptureSet) -> CaptureSet:
    """What a training is validated on: labelled captures, or charts where there are none.

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


def teacher_key(captures: CaptureSet, params: Parameters) -> str:
    """Hash of everything that the training of a teacher depends on."""
    train, validation = training_split(captures), validation_split(captures)
    return training_key(
        seed=params.seed,
        teacher=params.teacher.model_dump(),
        code=code_digest(build_teacher(params.teacher, params.prediction.bins)),
        prediction=params.prediction.model_dump(),
        data=[train.digest, validation.digest],
        blur=captures.blur.fingerprint,
    )


def teacher_card(
    captures: CaptureSet, network: Teacher | CustomTeacher, params: Parameters
) -> Card:
    """The card of a teacher trained on these captures."""
    return Card(
        kind="teacher",
        camera=captures.camera,
        camera_fingerprint=captures.camera.fingerprint,
        lens_caveat=captures.camera.lens.caveat,
        teacher=params.teacher,
        prediction=params.prediction,
        patch_px=network.patch_px,
        stride_px=network.stride_px,
        orientation=params.captures.orientation,
        sample_bits=params.captures.sample_bits,
        dataset=training_split(captures).digest,
        seed=params.seed,
    )


def tilt_range_m(captures: CaptureSet, params: Parameters) -> Interval | None:
    """Distances [m] that a student's posterior tilting is fitted over, or None: no tilting.

    A few scenes would fit the distances of their walls, and charts those photographed: tilting is
    fitted on many scenes or not at all.
    """
    scenes = captures.select(role="labelled", split="validation").table["scene"]
    return params.range.report_m if scenes.nunique() >= params.student.min_tilt_scenes else None


def _options_for(options: StudentParams, scenes: int) -> StudentParams:
    """Options of a student that trains on so many composited scenes; the card records them.

    Without any there is no boundary network, so colours alone have to keep surfaces apart.
    """
    if scenes < options.composited_scenes:
        log.info(
            "%d composited scenes instead of %d: they need two charts of one size that fill their "
            "photos, and memory",
            scenes,
            options.composited_scenes,
        )
    changes: dict[str, float] = {"composited_scenes": scenes}
    sd = options.aggregation_sd
    if scenes == 0 and sd is not None and sd > options.colour_only_sd:
        log.info(
            "student.aggregation_sd is %g instead of %g: there is no boundary network",
            options.colour_only_sd,
            sd,
        )
        changes["aggregation_sd"] = options.colour_only_sd
    return options.model_copy(update=changes)


def _adaptation_options(
    student: TrainedModel, teacher: TrainedModel, adaptation: AdaptationParams
) -> StudentParams:
    """Options of the student's card with the schedule of an adaptation."""
    own, other = student.card, teacher.card
    if own.student is None:
        raise ModelError("only a student can be adapted", got=f"a {own.kind}")
    other.camera.require(own.camera_fingerprint, "the student")
    if (own.prediction, own.teacher) != (other.prediction, other.teacher):
        raise ModelError(
            "the student was not distilled from a teacher of this kind",
            todo="Adapt the student of this project, or train it with 'kedro run'.",
        )
    return own.student.model_copy(
        update={
            "sharing": "frozen" if own.student.sharing == "frozen" else "none",
            "max_epochs": adaptation.epochs,
            "learning_rate": adaptation.learning_rate,
        }
    )
