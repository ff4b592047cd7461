"""How long an epoch of distillation takes, by where its targets come from."""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from typing import Any, cast

import torch
from torch import Tensor
from torch.optim import Optimizer

from rangefinder.captures.manifest import CaptureSet
from rangefinder.config import Parameters
from rangefinder.models.device import multiplying, training_dtype
from rangefinder.models.io import TrainedModel
from rangefinder.models.own import OwnTeacher
from rangefinder.models.prediction import Prediction
from rangefinder.models.student import Student
from rangefinder.models.teacher import Teacher
from rangefinder.training.data import SameSizeBatches
from rangefinder.training.laid import LaidCharts
from rangefinder.training.modules import StudentModule
from rangefinder.training.photos import Photos
from rangefinder.training.sources import taught

Targets = Callable[[str], Tensor]
ROUNDS = 12


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
        steps: Steps of each; more warm up.

    Returns:
        The times by name. Sources take turns, so that a machine that slows down slows down all of
        them, but never within a round: batches are made ahead, and what is made ahead for one
        source must not run during the steps of another.
    """
    sources: dict[str, tuple[Targets, Prediction]] = {
        name: (targets, teacher.prediction) for name, targets in packed.items()
    }
    for name, targets in plain.items():
        sources[name] = (targets, Plain(teacher.card.prediction))
    laid = LaidCharts(taught(captures), params.student, params.seed)
    each = -(-steps // ROUNDS)
    for number in range(min(len(laid), each + 1)):
        laid[number]  # a training makes its scenes once, so they are made before what is timed
    runs = {
        name: _Run(captures, teacher, targets, prediction, laid, params)
        for name, (targets, prediction) in sources.items()
    }
    times = {name: Steps([], []) for name in runs}
    for turn in range(ROUNDS):
        for name in list(runs)[:: -1 if turn % 2 else 1]:
            for waited, total in runs[name].round(each):
                times[name].seconds.append(total)
                times[name].waited.append(waited)
    return times


def batches_of(captures: CaptureSet, params: Parameters, count: int) -> list[list[int]]:
    """The first `count` batches of every round, as indices of unlabelled captures."""
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
        laid: LaidCharts,
        params: Parameters,
    ) -> None:
        card = teacher.card
        self.photos = partial(Photos.of, captures, targets, card, params, prediction, laid)
        network = Student(params.student, card.teacher, card.prediction.bins)
        self.module = StudentModule(
            network,
            cast("Teacher | OwnTeacher", teacher.network),
            prediction,
            params.student,
            params.student.max_epochs * self.photos().steps,
        ).train()
        self.dtype = training_dtype(params.compute)
        self.optimizer = cast("Optimizer", self.module.configure_optimizers()["optimizer"])

    def round(self, steps: int) -> list[tuple[float, float]]:
        """Steps one after the other, the first to warm up: seconds waited, and in all.

        Each round is a first epoch: what a data set remembers of its targets is forgotten.
        """
        with closing(_endless(self.photos())) as batches:  # waits for what is made ahead
            return [self._step(batches) for _ in range(steps + 1)][1:]

    def _step(self, batches: Iterator[dict[str, Any]]) -> tuple[float, float]:
        began = time.perf_counter()
        batch = next(batches)
        waited = time.perf_counter() - began
        with warnings.catch_warnings(), multiplying(self.dtype, "cpu"):
            warnings.filterwarnings("ignore", message=".*self.log.*")  # there is no trainer
            loss = self.module.training_step(batch, 0)
        self.optimizer.zero_grad()
        torch.autograd.backward(loss)
        self.optimizer.step()
        return waited, time.perf_counter() - began


def _endless(photos: Photos) -> Generator[dict[str, Any]]:
    while True:
        for batches in zip(*photos.loaders.values(), strict=True):
            yield dict(zip(photos.loaders, batches, strict=True))
