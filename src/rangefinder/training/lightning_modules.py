"""Lightning modules: training and validation step of each network, and the optimiser."""

from __future__ import annotations

import copy
from abc import abstractmethod
from typing import Any, cast

import torch
from lightning import LightningModule
from pytorch_optimizer import Muon
from torch import Tensor, nn
from torch.nn import functional as F
from torch.optim.lr_scheduler import OneCycleLR
from torchmetrics import MeanAbsolutePercentageError, MeanMetric

from rangefinder.config import OptimiserParams, StudentParams, TeacherParams
from rangefinder.errors import ConfigError
from rangefinder.models.blocks import resample
from rangefinder.models.boundaries import AuxiliaryBoundaryHead
from rangefinder.models.distribution import DistanceDistribution
from rangefinder.models.size import activation_bytes
from rangefinder.models.student import Student
from rangefinder.models.teacher import CustomTeacher, Teacher
from rangefinder.training.frames import Batch
from rangefinder.training.losses import boundary_loss, cross_entropy, ranking_loss

ADAMW_BETAS = (0.9, 0.99)
OUTPUT_LAYERS = ("head", "modulation")  # AdamW's too, though some are convolutions
MIN_NEGENTROPY = 1e-4  # rounding leaves so much of a uniform distribution


def optimiser(module: nn.Module, params: OptimiserParams, total_steps: int) -> dict[str, Any]:
    """Optimiser and schedule in Lightning's form.

    Muon (Jordan et al., 2024) orthogonalises the step of each hidden convolution, so directions
    that only a few patches have gradients for, such as the defocus sign, are learned as fast as
    common ones. AdamW trains everything else, with one learning-rate cycle for both.

    Args:
        module: Network to be trained; frozen parameters stay as they are.
        params: Learning rates, warm-up and weight decay.
        total_steps: Steps of the whole training.
    """
    trained = [(name, p) for name, p in module.named_parameters() if p.requires_grad]
    convolutions = [p for name, p in trained if _is_hidden_convolution(name, p)]
    others = [p for name, p in trained if not _is_hidden_convolution(name, p)]
    rates = [params.learning_rate, params.adamw_rate * params.learning_rate]
    groups = [
        {"params": convolutions, "use_muon": True, "lr": rates[0]},
        {"params": others, "use_muon": False, "lr": rates[1], "betas": ADAMW_BETAS},
    ]
    muon = Muon([group | {"weight_decay": params.weight_decay} for group in groups])
    schedule = OneCycleLR(
        muon, rates, total_steps=total_steps, pct_start=params.warm_up_share, cycle_momentum=False
    )
    return {"optimizer": muon, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}


def _is_hidden_convolution(name: str, parameter: nn.Parameter) -> bool:
    return parameter.ndim == 4 and not any(part in name.split(".") for part in OUTPUT_LAYERS)


class DistanceModule(LightningModule):
    """What both trainings share: optimiser, and validation against true distances."""

    def __init__(
        self,
        network: Teacher | CustomTeacher | Student,
        distribution: DistanceDistribution,
        params: TeacherParams | StudentParams,
        total_steps: int,
    ) -> None:
        super().__init__()
        self.network = network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.distribution, self.params, self.total_steps = distribution, params, total_steps
        self.validation_nll = MeanMetric()
        self.validation_abs_rel = MeanAbsolutePercentageError()

    @abstractmethod
    def activation_bytes(self, batch: Any) -> int:
        """What a training step on such a batch keeps for its backward pass [byte], in float32."""

    @abstractmethod
    def grid_logits(self, batch: Batch) -> Tensor:
        """Logits `[N, bins, rows, cols]` at the patch centres of whole photos."""

    def validation_step(self, batch: Batch, batch_index: int) -> None:
        """Score whole photos at the patch centres whose true distance is known."""
        logits = self.grid_logits(batch).movedim(1, -1).float()
        known = batch["inverse_dpt"] > 0
        truth_dpt, logits = batch["inverse_dpt"][known], logits[known]
        log_probs = torch.log_softmax(logits, -1)
        target = self.distribution.soft_targets(truth_dpt)
        self.validation_nll.update(-(target * log_probs).sum(-1))
        distance_m = self.distribution.estimate_m(log_probs.exp())
        self.validation_abs_rel.update(distance_m, 1.0 / truth_dpt)

    def on_validation_epoch_end(self) -> None:
        """Log the epoch's scores."""
        for name, metric in (
            ("validation_nll", self.validation_nll),
            ("validation_abs_rel", self.validation_abs_rel),
        ):
            self.log(name, metric.compute(), prog_bar=True)
            metric.reset()

    def configure_optimizers(self) -> Any:
        """See `optimiser`."""
        return optimiser(self, self.params, self.total_steps)

    def _log_loss(self, loss: Tensor) -> Tensor:
        self.log("loss", loss, on_step=False, on_epoch=True, prog_bar=True)
        return loss


def patch_loss(teacher: nn.Module, distribution: DistanceDistribution, batch: Batch) -> Tensor:
    """The teacher's cross-entropy on a batch of crops [nat]; patches without a label are left out.

    `batch` holds image `[N, 3, c, c]`, location `[N, 2, r, r]` and inverse_dpt `[N, r, r]`, 0
    without a label.
    """
    logits = teacher(
        batch["image"].contiguous(memory_format=torch.channels_last), batch["location"]
    )
    inverse_dpt = batch["inverse_dpt"]
    weight = (inverse_dpt > 0).float()
    return cross_entropy(logits, distribution.soft_targets(inverse_dpt), weight)


class TeacherModule(DistanceModule):
    """Teacher on crops: every patch is labelled with the distance at its centre, or not at all."""

    def training_step(self, batch: Batch, batch_index: int) -> Tensor:
        """One batch of crops."""
        return self._log_loss(patch_loss(self.network, self.distribution, batch))

    def activation_bytes(self, batch: Batch) -> int:
        """See `DistanceModule`; 0 for a custom teacher, whose code may need real numbers."""
        if isinstance(self.network, CustomTeacher):
            return 0
        inputs = [_without_memory(batch[name]) for name in ("image", "location")]
        return activation_bytes(self.network, lambda teacher: teacher(*inputs))

    def grid_logits(self, batch: Batch) -> Tensor:
        """One dense pass; a custom teacher gets patches side by side."""
        if isinstance(self.network, CustomTeacher):
            return self.network.side_by_side(batch["image"], batch["grid_location"])
        return cast("Tensor", self.network(batch["image"], batch["grid_location"]))


class StudentModule(DistanceModule):
    """Student on whole unlabelled photos against distillation targets.

    loss = cross-entropy against the targets, cost-sensitive and weighted by negentropy
         + boundary_loss_weight * boundary loss (boundary network, auxiliary head)
         + ranking_loss_weight * ranking loss, both on composited scenes
         + chart_loss_weight * the teacher's loss on charts, with joint sharing.
    """

    def __init__(
        self,
        student: Student,
        teacher: Teacher | CustomTeacher,
        distribution: DistanceDistribution,
        params: StudentParams,
        total_steps: int,
    ) -> None:
        if params.sharing != "none":
            teacher = _shareable(teacher, params.sharing)
            student.initialise_from(teacher)
        super().__init__(student, distribution, params, total_steps)
        self.student_params = params
        self.auxiliary_head = (
            AuxiliaryBoundaryHead(student.stem.channels) if student.boundaries is not None else None
        )
        self.chart_teacher: Teacher | None = None
        if params.sharing == "frozen":
            student.stem.requires_grad_(False)
        elif params.sharing == "joint":
            self.chart_teacher = copy.deepcopy(cast("Teacher", teacher))
            self.chart_teacher.stem = student.stem

    def on_train_epoch_start(self) -> None:
        """A frozen stem keeps its batch statistics too."""
        if self.student_params.sharing == "frozen":
            cast("Student", self.network).stem.eval()

    def training_step(self, batch: dict[str, Batch], batch_index: int) -> Tensor:
        """One batch of photos; of composited scenes, if any; of crops with joint sharing."""
        photos, scenes = batch["photos"], batch.get("scenes")
        target = self.distribution.unpack(photos["targets"])
        weight = self._weight(photos["negentropy"])
        cost = self.distribution.centres_dpt.to(target)  # of a relative error: 1 / distance
        logits, scene_loss = self._forward(photos, scenes)
        loss = cross_entropy(logits, target, weight, cost) + scene_loss
        if self.chart_teacher is not None:
            on_charts = patch_loss(self.chart_teacher, self.distribution, batch["charts"])
            loss = loss + self.student_params.chart_loss_weight * on_charts
        return self._log_loss(loss)

    def activation_bytes(self, batch: dict[str, Batch]) -> int:
        """See `DistanceModule`; chart crops are small beside photos."""
        photos = batch["photos"]
        count = len(photos["image"]) + len(batch.get("scenes", {}).get("image", ()))
        image, location = (
            _without_memory(photos[name][:1]).expand(count, -1, -1, -1)
            for name in ("image", "location")
        )
        student = cast("Student", self.network)
        return activation_bytes(student, lambda draft: draft.cell_logits(image, location))

    def _forward(self, photos: Batch, scenes: Batch | None) -> tuple[Tensor, Tensor | float]:
        """Logits of the photos at the patch centres, and the loss on composited scenes.

        Both go through the network in one batch, so that batch statistics are of both.
        """
        if scenes is None:
            image = photos["image"].contiguous(memory_format=torch.channels_last)
            logits = cast("Student", self.network).cell_logits(image, photos["location"])
            return _at_centres(logits, photos), 0.0
        both = {
            name: torch.cat([photos[name], _fitted(scenes[name], photos[name], "replicate")])
            for name in ("image", "location")
        }
        image = both["image"].contiguous(memory_format=torch.channels_last)
        student, count = cast("Student", self.network), len(photos["image"])
        features = student.features(image, both["location"])
        logits = student.head(features)
        loss = self._scene_loss(image[count:], features[count:], logits[count:], scenes)
        return _at_centres(logits[:count], photos), loss

    def _scene_loss(self, image: Tensor, features: Tensor, logits: Tensor, scenes: Batch) -> Tensor:
        """Boundary and ranking loss of composited scenes, weighted."""
        params, student = self.student_params, cast("Student", self.network)
        inverse_dpt = _fitted(scenes["inverse_dpt"], logits)
        predicted = (
            student.boundary_logits(image),
            cast("AuxiliaryBoundaryHead", self.auxiliary_head)(features),
        )
        on_boundaries = sum(
            boundary_loss(cast("Tensor", one), inverse_dpt, params.boundary_step)
            for one in predicted
        )
        soft_labels = self.distribution.soft_targets(inverse_dpt)
        on_ranks = ranking_loss(logits, soft_labels, inverse_dpt, params.ranking_step)
        return params.boundary_loss_weight * on_boundaries + params.ranking_loss_weight * on_ranks

    def _weight(self, negentropy: Tensor) -> Tensor:
        """Weight of each cell: 0 where nothing is known, 1 from `full_weight_negentropy` on."""
        known = (negentropy > MIN_NEGENTROPY).float()
        if not self.student_params.negentropy_weighting:
            return known
        return known * (negentropy / self.student_params.full_weight_negentropy).clamp(max=1)

    def grid_logits(self, batch: Batch) -> Tensor:
        """Aggregated logits at the patch centres, which all photos of a batch share."""
        image = batch["image"].contiguous(memory_format=torch.channels_last)
        return _at_centres(self.network(image, batch["location"]), batch)


def _without_memory(x: Tensor) -> Tensor:
    return torch.empty(x.shape, device="meta")


def _at_centres(logits: Tensor, batch: Batch) -> Tensor:
    return resample(logits, Student.lattice, batch["y_px"][0], batch["x_px"][0])


def _fitted(x: Tensor, like: Tensor, padding: str = "constant") -> Tensor:
    """`[N, ..., h, w]` cropped, or padded at the far ends, to another's height and width."""
    height, width = like.shape[-2:]
    x = x[..., :height, :width]
    return F.pad(x, (0, width - x.shape[-1], 0, height - x.shape[-2]), padding)


def _shareable(teacher: Teacher | CustomTeacher, sharing: str) -> Teacher:
    if isinstance(teacher, CustomTeacher):
        raise ConfigError(
            "a custom teacher has no stem to share with the student",
            got=f"student.sharing {sharing!r}",
            expected="'none'",
            todo="Set student.sharing to none.",
        )
    return teacher
