"""Time of a distillation epoch, by the source of its targets."""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor
from torch.optim import Optimizer

from rangefinder.cache.store import TeacherCache
from rangefinder.captures.manifest import CaptureSet
from rangefinder.common.timing import Timing
from rangefinder.config import Parameters
from rangefinder.models.device import autocast_to, training_dtype
from rangefinder.models.distribution import DistanceDistribution
from rangefinder.models.model_files import TrainedModel
from rangefinder.models.student import Student
from rangefinder.models.teacher import CustomTeacher, Teacher
from rangefinder.sweep.sweep import Sweep
from rangefinder.training.assembly import StudentData, training_split
from rangefinder.training.compositing import CompositedScenes
from rangefinder.training.frames import SameSizeBatches
from rangefinder.training.lightning_modules import StudentModule

ROUNDS = 12
Targets = Callable[[str], Tensor]  # of a capture_id


def time_epochs(
    captures: CaptureSet,
    teacher: TrainedModel,
    cache: TeacherCache,
    params: Parameters,
    loop_s_per_patch: float,
) -> dict[str, Any]:
    """Time epochs by the source of their targets.

    The live patch loop is extrapolated: the epoch on fixed targets, and the loop over every photo.
    Returns `seconds` of an epoch by source, timings of a step (`step_s`), and among others
    `waiting_share`: of the steps on cached targets, spent waiting for the data loader.
    """
    train = captures.select(role="unlabelled", split="train")
    count = -(-params.benchmark.epoch_steps // ROUNDS) + 2  # one warms up, one is prefetched
    needed = {index for batch in batches_of(captures, params, count) for index in batch}
    fixed, live = _in_memory(train, needed, teacher, cache), _live(train, needed, teacher, params)
    times = step_times(
        captures,
        teacher,
        {"cached": cache.read},
        {"fixed": fixed, "online_dense": live},
        params,
        params.benchmark.epoch_steps,
    )
    steps = {name: Timing.of(measured.seconds) for name, measured in times.items()}
    per_epoch = -(-len(train) // params.student.batch_size)
    seconds = {name: timing.seconds * per_epoch for name, timing in steps.items()}
    patches = sum(entry.rows * entry.cols for entry in cache.index.values())
    seconds["online_loop"] = seconds["fixed"] + patches * loop_s_per_patch
    cached, on_fixed = times["cached"], times["fixed"]
    return {
        "seconds": seconds,
        "extrapolated": ["online_loop"],
        # Median over pairs of the same step: what noise leaves of a small cost.
        "paired_excess": float(np.median(np.divide(cached.seconds, on_fixed.seconds)) - 1),
        "photos": len(train),
        "steps_per_epoch": per_epoch,
        "step_s": {name: vars(timing) for name, timing in steps.items()},
        "waiting_share": float(np.sum(cached.waited) / np.sum(cached.seconds)),
        "cpu_step_s": float(np.median(cached.cpu)),
    }


@dataclass(frozen=True)
class StepTimes:
    """Seconds of each step, those of them spent waiting for the batch, and its CPU seconds."""

    seconds: list[float]
    waited: list[float]
    cpu: list[float]


def step_times(
    captures: CaptureSet,
    teacher: TrainedModel,
    packed: Mapping[str, Targets],
    plain: Mapping[str, Targets],
    params: Parameters,
    steps: int,
) -> dict[str, StepTimes]:
    """Time real steps of distillation, the same batches for every source of targets in turn.

    `packed` are sources of packed predictions, `plain` of probabilities, both by name as is the
    result. Sources take turns, so that a machine that slows down slows down all of them, but never
    within a round: what is prefetched for one must not run during the steps of another.
    """
    sources: dict[str, tuple[Targets, DistanceDistribution]] = {
        name: (targets, teacher.distribution) for name, targets in packed.items()
    }
    for name, targets in plain.items():
        sources[name] = (targets, UnpackedDistribution(teacher.card.prediction))
    scenes = CompositedScenes(training_split(captures), params.student, params.teacher, params.seed)
    per_round = -(-steps // ROUNDS)
    for number in range(min(len(scenes), per_round + 1)):
        scenes[number]  # rendered once per training, so before what is timed
    runs = {
        name: _Distillation(captures, teacher, targets, distribution, scenes, params)
        for name, (targets, distribution) in sources.items()
    }
    times = {name: StepTimes([], [], []) for name in runs}
    for turn in range(ROUNDS):
        for name in list(runs)[:: -1 if turn % 2 else 1]:
            for waited, total, cpu in runs[name].round(per_round):
                times[name].seconds.append(total)
                times[name].waited.append(waited)
                times[name].cpu.append(cpu)
    return times


def batches_of(captures: CaptureSet, params: Parameters, count: int) -> list[list[int]]:
    """The first `count` batches of every round, as indices of unlabelled captures."""
    train = captures.select(role="unlabelled", split="train")
    batches = list(SameSizeBatches(train, params.student.batch_size, params.seed))
    return [batches[i % len(batches)] for i in range(min(count, len(batches)))]


class UnpackedDistribution(DistanceDistribution):
    """A distribution whose targets are not packed."""

    def unpack(self, packed: Tensor) -> Tensor:
        """The probabilities as they are, `[..., bins]`."""
        return packed

    def pack(self, probs: Tensor) -> Tensor:
        """The probabilities as they are, `[..., bins]`."""
        return probs


class _Distillation:
    """One distillation, run step by step."""

    def __init__(
        self,
        captures: CaptureSet,
        teacher: TrainedModel,
        targets: Targets,
        distribution: DistanceDistribution,
        scenes: CompositedScenes,
        params: Parameters,
    ) -> None:
        card = teacher.card
        self.data = partial(StudentData.of, captures, targets, card, params, distribution, scenes)
        self.module = StudentModule(
            Student(params.student, card.teacher, card.prediction.bins),
            cast("Teacher | CustomTeacher", teacher.network),
            distribution,
            params.student,
            params.student.max_epochs * self.data().steps,
        ).train()
        self.dtype = training_dtype(params.compute)
        self.optimizer = cast("Optimizer", self.module.configure_optimizers()["optimizer"])

    def round(self, steps: int) -> list[tuple[float, float, float]]:
        """Seconds waited, seconds in all and CPU seconds of each step; one more step warms up.

        Each round is a first epoch: the data set is made anew, without targets in memory.
        """
        with closing(_endless(self.data())) as batches:  # waits for what is prefetched
            return [self._step(batches) for _ in range(steps + 1)][1:]

    def _step(self, batches: Iterator[dict[str, Any]]) -> tuple[float, float, float]:
        start, cpu_start = time.perf_counter(), time.process_time()
        batch = next(batches)
        waited = time.perf_counter() - start
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message=".*self.log.*")  # there is no trainer
            optimise(self.optimizer, self.dtype, lambda: self.module.training_step(batch, 0))
        return waited, time.perf_counter() - start, time.process_time() - cpu_start


def optimise(optimizer: Optimizer, dtype: torch.dtype, loss: Callable[[], Tensor]) -> None:
    """One step of a training on the CPU, as a trainer makes it."""
    with autocast_to(dtype, "cpu"):
        value = loss()
    optimizer.zero_grad()
    torch.autograd.backward(value)
    optimizer.step()


def _endless(data: StudentData) -> Generator[dict[str, Any]]:
    while True:
        for batches in zip(*data.loaders.values(), strict=True):
            yield dict(zip(data.loaders, batches, strict=True))


def _in_memory(
    captures: CaptureSet, needed: set[int], teacher: TrainedModel, cache: TeacherCache
) -> Targets:
    ids = captures.table["capture_id"].tolist()
    held = {ids[i]: teacher.distribution.unpack(cache.read(ids[i])) for i in needed}
    return held.__getitem__


def _live(
    captures: CaptureSet, needed: set[int], teacher: TrainedModel, params: Parameters
) -> Targets:
    """The teacher on photos that are in memory: nothing but its own work is timed."""
    card, ids = teacher.card, captures.table["capture_id"].tolist()
    photos = {ids[i]: (captures.image(i), captures.placement(i)) for i in needed}
    grid = card.patch_px, card.stride_px
    sweep = Sweep(teacher.network, captures.camera, params.cache, *grid, params.compute)
    return lambda name: sweep(*photos[name]).clone()  # inference tensors cannot be trained on
