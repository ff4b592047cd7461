"""Lightning modules: what one training and one validation step of each network does."""

from __future__ import annotations

import copy
from abc import abstractmethod
from typing import Any, cast

import torch
from lightning import LightningModule
from torch import Tensor, nn
from torch.nn import functional as F
from torchmetrics import MeanAbsolutePercentageError, MeanMetric

from rangefinder.config import StudentParams, TeacherParams
from rangefinder.errors import ConfigError
from rangefinder.models.borders import Hints
from rangefinder.models.lattice import resample
from rangefinder.models.own import OwnTeacher
from rangefinder.models.prediction import Prediction
from rangefinder.models.student import Student
from rangefinder.models.teacher import Teacher
from rangefinder.training.losses import border_loss, cross_entropy, side_loss
from rangefinder.training.optimiser import optimiser

Batch = dict[str, Tensor]
BORDERS_WEIGHT = 5.0  # nat on borders / nat on distances
SIDES_WEIGHT = 0.1  # nat on which side of a border is which / nat on distances
LEAST_CONFIDENCE = 1e-4  # rounding leaves so much of none


class RangingModule(LightningModule):
    """What both trainings share: optimiser, validation against true distances.

    Args:
        network: Teacher or student.
        prediction: Bins and decoding.
        params: Learning rate and weight decay.
        total_steps: Steps of the whole training, for the learning-rate cycle.
    """

    def __init__(
        self,
        network: Teacher | OwnTeacher | Student,
        prediction: Prediction,
        params: TeacherParams | StudentParams,
        total_steps: int,
    ) -> None:
        super().__init__()
        self.network = network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.prediction, self.params, self.total_steps = prediction, params, total_steps
        self.validation_nll = MeanMetric()
        self.validation_abs_rel = MeanAbsolutePercentageError()

    @abstractmethod
    def grid_logits(self, batch: Batch) -> Tensor:
        """Logits `[N, bins, rows, cols]` at the patch centres of whole photos."""

    def validation_step(self, batch: Batch, batch_index: int) -> None:
        """Score whole photos at the patch centres whose true distance is known."""
        logits = self.grid_logits(batch).movedim(1, -1).float()
        known = batch["inverse_dpt"] > 0
        truth_dpt, logits = batch["inverse_dpt"][known], logits[known]
        log_probs = torch.log_softmax(logits, -1)
        target = self.prediction.soft_targets(truth_dpt)
        self.validation_nll.update(-(target * log_probs).sum(-1))
        distance_m = self.prediction.estimate_m(log_probs.exp())
        self.validation_abs_rel.update(distance_m, 1.0 / truth_dpt)

    def on_validation_epoch_end(self) -> None:
        """Report the epoch's scores."""
        for name, metric in (
            ("validation_nll", self.validation_nll),
            ("validation_abs_rel", self.validation_abs_rel),
        ):
            self.log(name, metric.compute(), prog_bar=True)
            metric.reset()

    def configure_optimizers(self) -> Any:
        """See `optimiser`."""
        params = self.params
        return optimiser(self, params.learning_rate, params.weight_decay, self.total_steps)

    def _report(self, loss: Tensor) -> Tensor:
        self.log("loss", loss, on_step=False, on_epoch=True, prog_bar=True)
        return loss


def chart_loss(teacher: nn.Module, prediction: Prediction, batch: Batch) -> Tensor:
    """The teacher's loss on a batch of chart crops [nat]."""
    logits = teacher(
        batch["image"].contiguous(memory_format=torch.channels_last), batch["location"]
    )
    inverse_dpt = batch["inverse_dpt"]
    weight = (inverse_dpt > 0).float()
    return cross_entropy(logits, prediction.soft_targets(inverse_dpt), weight)


class TeacherModule(RangingModule):
    """Teacher on crops: every patch has the distance at its centre, or teaches nothing."""

    def training_step(self, batch: Batch, batch_index: int) -> Tensor:
        """One batch of crops."""
        return self._report(chart_loss(self.network, self.prediction, batch))

    def grid_logits(self, batch: Batch) -> Tensor:
        """One dense pass; a network of the user's own sees patches side by side."""
        if isinstance(self.network, OwnTeacher):
            return self.network.side_by_side(batch["image"], batch["grid_location"])
        return cast("Tensor", self.network(batch["image"], batch["grid_location"]))


class StudentModule(RangingModule):
    """Student on whole unlabelled photos, against what the teacher said of every local area.

    Where things end, and which side of a border is which, it learns from scenes of charts, if there
    are any beside the photos.

    Args:
        student: The whole-image network.
        teacher: The trained teacher whose early layers may be shared.
        prediction: Bins and decoding.
        params: Sharing, learning rate and weights.
        total_steps: Steps of the whole training.
    """

    def __init__(
        self,
        student: Student,
        teacher: Teacher | OwnTeacher,
        prediction: Prediction,
        params: StudentParams,
        total_steps: int,
    ) -> None:
        if params.sharing != "none":
            teacher = _with_layers_to_share(teacher, params.sharing)
            student.begin_with(teacher)
        super().__init__(student, prediction, params, total_steps)
        self.student_params = params
        self.hints = Hints(student.stem.channels) if student.borders is not None else None
        self.chart_teacher: Teacher | None = None
        if params.sharing == "frozen":
            student.stem.requires_grad_(False)
        elif params.sharing == "joint":
            self.chart_teacher = copy.deepcopy(cast("Teacher", teacher))
            self.chart_teacher.stem = student.stem

    def on_train_epoch_start(self) -> None:
        """Frozen layers keep their normalisation too."""
        if self.student_params.sharing == "frozen":
            cast("Student", self.network).stem.eval()

    def training_step(self, batch: dict[str, Batch], batch_index: int) -> Tensor:
        """One batch of photos, perhaps of scenes of charts; with joint sharing also of crops."""
        photos, laid = batch["photos"], batch.get("laid")
        target = self.prediction.unpack(photos["targets"])
        weight = self._weight(photos["confidence"])
        cost = self.prediction.centres_dpt.to(target)  # a relative error's: 1 / distance
        logits, of_laid = self._answers(photos, laid)
        loss = cross_entropy(logits, target, weight, cost) + of_laid
        if self.chart_teacher is not None:
            on_charts = chart_loss(self.chart_teacher, self.prediction, batch["charts"])
            loss = loss + self.student_params.chart_loss_weight * on_charts
        return self._report(loss)

    def _answers(self, photos: Batch, laid: Batch | None) -> tuple[Tensor, Tensor | float]:
        """Logits of the photos at the patch centres, and the loss on scenes of charts.

        Both go through the network together, so that both are normalised alike.
        """
        if laid is None:
            return self.grid_logits(photos), 0.0
        seen = {
            name: torch.cat([photos[name], _fitted(laid[name], photos[name], "replicate")])
            for name in ("image", "location")
        }
        image = seen["image"].contiguous(memory_format=torch.channels_last)
        student, count = cast("Student", self.network), len(photos["image"])
        features = student.features(image, seen["location"])
        logits = student.head(features)
        inverse_dpt = _fitted(laid["inverse_dpt"], logits)
        borders = student.borders_in(image[count:]), cast("Hints", self.hints)(features[count:])
        on_borders = sum(border_loss(cast("Tensor", found), inverse_dpt) for found in borders)
        on_sides = side_loss(logits[count:], self.prediction.soft_targets(inverse_dpt), inverse_dpt)
        loss = BORDERS_WEIGHT * on_borders + SIDES_WEIGHT * on_sides
        return _at_centres(logits[:count], photos), loss

    def _weight(self, confidence: Tensor) -> Tensor:
        """What each cell counts: nothing where nobody knows anything, 1 from enough on."""
        known = (confidence > LEAST_CONFIDENCE).float()
        if not self.student_params.confidence_weighting:
            return known
        return known * (confidence / self.student_params.full_confidence).clamp(max=1)

    def grid_logits(self, batch: Batch) -> Tensor:
        """Student's logits, read at the patch centres, which all photos of a batch share."""
        image = batch["image"].contiguous(memory_format=torch.channels_last)
        return _at_centres(self.network(image, batch["location"]), batch)


def _at_centres(logits: Tensor, batch: Batch) -> Tensor:
    return resample(logits, Student.lattice, batch["y_px"][0], batch["x_px"][0])


def _fitted(x: Tensor, like: Tensor, beyond: str = "constant") -> Tensor:
    """`[N, ..., h, w]` cut off, or filled up with 0 or what `beyond` says, to another's size."""
    height, width = like.shape[-2:]
    x = x[..., :height, :width]
    return F.pad(x, (0, width - x.shape[-1], 0, height - x.shape[-2]), beyond)


def _with_layers_to_share(teacher: Teacher | OwnTeacher, sharing: str) -> Teacher:
    if isinstance(teacher, OwnTeacher):
        raise ConfigError(
            "a teacher of your own has no layers to share with the student",
            got=f"student.sharing {sharing!r}",
            expected="'none'",
            todo="Set student.sharing to none.",
        )
    return teacher
