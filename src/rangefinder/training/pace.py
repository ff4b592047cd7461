"""How long an epoch of distillation takes, by where its targets come from."""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, cast

import torch
from torch import Tensor
from torch.optim import Optimizer

from rangefinder.captures.manifest import CaptureSet
from rangefinder.config import Parameters
from rangefinder.models.io import TrainedModel
from rangefinder.models.own import OwnTeacher
from rangefinder.models.prediction import Prediction
from rangefinder.models.student import Student
from rangefinder.models.teacher import Teacher
from rangefinder.training.data import SameSizeBatches
from rangefinder.training.fit import Photos
from rangefinder.training.modules import StudentModule

Targets = Callable[[str], Tensor]
CHARTS = 48  # as many charts as this are kept in memory; more would not change a step


class Plain(Prediction):
    """A prediction whose targets are probabilities already."""

    def unpack(self, packed: Tensor) -> Tensor:
        """The probabilities as they are, `[..., bins]`."""
        return packed

    def pack(self, probs: Tensor) -> Tensor:
        """The probabilities as they are, `[..., bins]`."""
        return probs


@dataclass(frozen=True)
class Steps:
    """Seconds of each step, and those of them spent waiting for the batch."""

    seconds: list[float]
    waited: list[float]


def step_times(
    captures: CaptureSet,
    teacher: TrainedModel,
    packed: Mapping[str, Targets],
    plain: Mapping[str, Targets],
    params: Parameters,
    steps: int,
) -> dict[str, Steps]:
    """Time real steps of distillation, the same batches for every source of targets in turn.

    Args:
        captures: All captures.
        teacher: The teacher.
        packed: Sources of packed predictions, by name.
        plain: Sources of probabilities.
        params: All parameters.
        steps: Steps of each; one more warms up.

    Returns:
        The times by name. Sources take turns step by step, so that a machine that slows down
        slows down all of them.
    """
    few = _few_charts(captures)
    sources: dict[str, tuple[Targets, Prediction]] = {
        name: (targets, teacher.prediction) for name, targets in packed.items()
    }
    for name, targets in plain.items():
        sources[name] = (targets, Plain(teacher.card.prediction))
    runs = {
        name: _Run(few, teacher, targets, prediction, params)
        for name, (targets, prediction) in sources.items()
    }
    times = {name: Steps([], []) for name in runs}
    for step in range(steps + 1):
        for name, run in runs.items():
            waited, total = run.step()
            if step > 0:
                times[name].seconds.append(total)
                times[name].waited.append(waited)
    return times


def batches_of(captures: CaptureSet, params: Parameters, count: int) -> list[list[int]]:
    """The first `count` batches of `step_times`, as indices of unlabelled captures."""
    train = captures.select(role="unlabelled", split="train")
    every = list(SameSizeBatches(train, params.student.batch_size, params.seed))
    return [every[i % len(every)] for i in range(min(count, len(every)))]


class _Run:
    """One distillation that goes step by step."""

    def __init__(
        self,
        captures: CaptureSet,
        teacher: TrainedModel,
        targets: Targets,
        prediction: Prediction,
        params: Parameters,
    ) -> None:
        card = teacher.card
        photos = Photos.of(captures, targets, card, params, prediction)
        network = Student(params.student, card.teacher, card.prediction.bins)
        self.module = StudentModule(
            network,
            cast("Teacher | OwnTeacher", teacher.network),
            prediction,
            params.student,
            params.student.max_epochs * photos.steps,
        ).train()
        self.optimizer = cast("Optimizer", self.module.configure_optimizers()["optimizer"])
        self.batches = _endless(photos)

    def step(self) -> tuple[float, float]:
        """Seconds spent waiting for the batch, and of the whole step."""
        began = time.perf_counter()
        batch = next(self.batches)
        waited = time.perf_counter() - began
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message=".*self.log.*")  # there is no trainer
            loss = self.module.training_step(batch, 0)
        self.optimizer.zero_grad()
        torch.autograd.backward(loss)
        self.optimizer.step()
        return waited, time.perf_counter() - began


def _endless(photos: Photos) -> Iterator[dict[str, Any]]:
    while True:
        for batches in zip(*photos.loaders.values(), strict=True):
            yield dict(zip(photos.loaders, batches, strict=True))


def _few_charts(captures: CaptureSet) -> CaptureSet:
    table = captures.table
    charts = table["role"].eq("chart")
    keep = ~charts | (charts.cumsum() <= CHARTS)
    return replace(captures, table=table[keep].reset_index(drop=True))
