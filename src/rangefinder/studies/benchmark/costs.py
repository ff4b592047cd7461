"""CPU time of a whole run, stage by stage: of one capture, crop or photo, and of all of them."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from rangefinder.captures.manifest import CaptureSet
from rangefinder.config import Parameters
from rangefinder.models.device import training_dtype
from rangefinder.models.distribution import DistanceDistribution
from rangefinder.models.model_files import TrainedModel
from rangefinder.models.teacher import build_teacher
from rangefinder.optics.psf_bank import PsfBank
from rangefinder.studies.benchmark.epochs import optimise
from rangefinder.sweep.sweep import Sweep
from rangefinder.synthesis.renderer import render_captures
from rangefinder.training.assembly import training_split
from rangefinder.training.chart_crops import ChartCrops, CropPlan
from rangefinder.training.lightning_modules import TeacherModule, patch_loss

Row = dict[str, Any]


def stage_costs(
    captures: CaptureSet,
    teacher: TrainedModel,
    params: Parameters,
    bank: PsfBank,
    student_step_s: float,
) -> list[Row]:
    """CPU seconds of each stage whose work grows with the data; validation is not among it.

    Args:
        captures: Of the run.
        teacher: Trained on them.
        params: All parameters.
        bank: PSF bank of the camera.
        student_step_s: CPU seconds of a step of distillation.

    Returns:
        For each stage: unit, CPU seconds of one, their number in a run, CPU seconds of all.
    """
    photos = captures.select(role="unlabelled", split="train")
    crops = params.teacher.batch_size * params.teacher.steps_per_epoch * params.teacher.max_epochs
    rows = [
        ("rendering", "capture", _rendering_s(params, bank), len(captures)),
        ("teacher training", "crop", _teacher_s(captures, teacher, params), crops),
        ("sweep", "photo", _sweep_s(photos, teacher, params), len(photos)),
        (
            "distillation",
            "photo",
            student_step_s / params.student.batch_size,
            len(photos) * params.student.max_epochs,
        ),
    ]
    return [
        {
            "stage": stage,
            "unit": unit,
            "cpu_s_per_unit": seconds,
            "units": count,
            "cpu_s": seconds * count,
        }
        for stage, unit, seconds, count in rows
    ]


def _rendering_s(params: Parameters, bank: PsfBank) -> float:
    """CPU seconds of a rendered capture, as many charts as scenes; textures are left out."""
    few = params.captures.model_copy(
        update={
            "train_charts": params.benchmark.rendered,
            "unlabelled": params.benchmark.rendered,
            "validation_charts": 1,
            "validation": 1,
            "test": 0,
            "real_scenes": (),
            "workers": 1,
        }
    )
    rendered = render_captures(params.model_copy(update={"captures": few}), bank)
    moments = [time.process_time() for _ in rendered]
    return (moments[-1] - moments[0]) / (len(moments) - 1)  # textures come before the first


def _teacher_s(captures: CaptureSet, teacher: TrainedModel, params: Parameters) -> float:
    """CPU seconds of a crop of the teacher's training, drawing it included."""
    network = build_teacher(params.teacher, params.prediction.bins)
    distribution, steps = DistanceDistribution(params.prediction), params.benchmark.epoch_steps
    module = TeacherModule(network, distribution, params.teacher, steps + 2).train()
    optimizer = module.configure_optimizers()["optimizer"]
    grid = network.patch_px, network.stride_px
    crops = ChartCrops(training_split(captures), CropPlan.of(params), *grid)
    dtype = training_dtype(params.compute)

    def step(number: int) -> None:
        optimise(optimizer, dtype, lambda: patch_loss(network, distribution, crops[number]))

    return _cpu_s(step, steps) / params.teacher.batch_size


def _sweep_s(photos: CaptureSet, teacher: TrainedModel, params: Parameters) -> float:
    """CPU seconds of the sweep of one photo."""
    card = teacher.card
    grid = card.patch_px, card.stride_px
    sweep = Sweep(teacher.network, photos.camera, params.cache, *grid, params.compute)

    def one(number: int) -> None:
        index = number % len(photos)
        sweep(photos.image(index), photos.placement(index))

    return _cpu_s(one, params.benchmark.rendered)


def _cpu_s(work: Callable[[int], None], times: int) -> float:
    """CPU seconds of one call, on all threads; the first warms up."""
    work(0)
    start = time.process_time()
    for number in range(1, times + 1):
        work(number)
    return (time.process_time() - start) / times
