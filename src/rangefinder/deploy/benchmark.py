"""The benchmark: patch loop, MONAI's loop, dense pass and student side by side, and epochs."""

from __future__ import annotations

import logging
import os
import platform
from typing import Any

import torch
from torch import Tensor
from tqdm import tqdm

from rangefinder.cache.store import TeacherCache
from rangefinder.captures.manifest import CaptureSet
from rangefinder.captures.pace import seconds_per_capture
from rangefinder.config import Parameters
from rangefinder.deploy.contenders import Contender, Contenders, Size
from rangefinder.deploy.epochs import time_epochs
from rangefinder.deploy.splitter import HOW_TO_GET, has_monai
from rangefinder.errors import ModelError
from rangefinder.evaluation.speed import (
    DENSE,
    FRAMES,
    MONAI,
    PATCH_LOOP,
    STUDENT,
    USUAL,
    Case,
    Setting,
    exponent,
    frames_per_s,
    ratios,
)
from rangefinder.evaluation.timing import Effort, Timing, clock, peak_bytes, threads
from rangefinder.evaluation.work import matmul_rate, multiply_adds
from rangefinder.models.device import configure_threads, use_gpu
from rangefinder.models.io import TrainedModel
from rangefinder.optics.lens import PsfBank

log = logging.getLogger(__name__)


class Race:
    """Times contenders and keeps what it found.

    Args:
        contenders: The ways to distances.
        params: All parameters.

    Attributes:
        cases: What was found.
        equality: Outputs that were compared, and how far they were apart.
        notes: What could not be measured, and why.
        rates: Multiply-adds per second of a large matrix product, by threads.
        batches: Seconds per 1000 patches of both loops, by batch size.
    """

    def __init__(self, contenders: Contenders, params: Parameters) -> None:
        self.contenders, self.params = contenders, params
        options = params.benchmark
        self.effort = Effort(options.min_repeats, options.max_repeats, options.seconds_per_case)
        configure_threads(params.compute)
        self.threads = torch.get_num_threads()
        self.cases: list[Case] = []
        self.equality: list[dict[str, Any]] = []
        self.notes: list[str] = []
        self.rates: dict[int, float] = {}
        self.batches: dict[str, dict[int, float]] = {}

    def run(self) -> None:
        """Time everything, at every size, stride and number of threads."""
        options = self.params.benchmark
        for count in sorted({1, self.threads}):
            with threads(count):
                self.rates[count] = matmul_rate(options.matmul_side, self.effort)
        if not has_monai():
            self.notes.append(HOW_TO_GET)
        loops = [PATCH_LOOP, MONAI] if has_monai() else [PATCH_LOOP]
        best = {name: self._best_batch(name) for name in loops}
        places = [(size, stride) for size in options.sizes_px for stride in options.strides_px]
        for size, stride in tqdm(places, "Timing", unit="setting", disable=None):
            self._compare(size, stride, best)
        for size in options.sizes_px:
            self._time(Setting(STUDENT, size, None, 0), self.contenders.student(size))

    def _best_batch(self, name: str) -> int:
        options = self.params.benchmark
        size, stride = options.sizes_px[0], options.strides_px[0]
        found = {}
        for batch in options.patch_batches:
            loop = self._loop(name, size, stride, batch, options.sample_patches)
            grid = self.contenders.grid(size, stride)
            thousands = grid.rows * grid.cols / loop.scale / 1000
            found[batch] = clock(loop.run, self.effort).seconds / thousands
        self.batches[name] = found
        return min(found, key=lambda batch: found[batch])

    def _loop(
        self, name: str, size: Size, stride: int, batch: int, sample: int | None
    ) -> Contender:
        make = self.contenders.patch_loop if name == PATCH_LOOP else self.contenders.monai
        return make(size, stride, batch, sample)

    def _compare(self, size: Size, stride: int, best: dict[str, int]) -> None:
        """One size and stride: both loops and the dense pass, and that they say the same."""
        options = self.params.benchmark
        truth: Tensor | None = None
        dense = self.contenders.dense(size, stride)
        if dense is None:
            self.notes.append(f"stride {stride} px: the dense pass does not equal the patch loop")
        else:
            truth = self._time(Setting(DENSE, size, stride, 0), dense).flatten(0, 1)
        whole = (size, stride) == (options.sizes_px[0], options.strides_px[0])
        for name, batch in best.items():
            setting = Setting(name, size, stride, 0)
            loop = self._loop(name, size, stride, batch, options.sample_patches)
            if whole:
                self._time(setting, loop, tuple({1} - {self.threads}))
                loop = self._loop(name, size, stride, batch, None)
            said = self._time(setting, loop, (self.threads,) if whole else None)
            if truth is not None:
                wanted = truth if loop.cells is None else truth[loop.cells]
                self._equal(setting, wanted, said.flatten(0, -2))

    def _equal(self, setting: Setting, truth: Tensor, said: Tensor) -> None:
        gpu = use_gpu(self.params.compute)
        tolerance = self.params.cache.gpu_tolerance if gpu else self.params.cache.tolerance
        difference = float((truth - said).abs().max())
        width, height = setting.size_px
        pair = f"{DENSE} and {setting.method}"
        where = {"width_px": width, "height_px": height, "stride_px": setting.stride_px}
        found = {"largest_difference": difference, "tolerance": tolerance, "patches": len(said)}
        self.equality.append({"outputs": pair, **where, **found})
        if difference > tolerance:
            raise ModelError(
                f"{pair} should say the same at {width}x{height}, stride {setting.stride_px}",
                got=f"a difference of {difference:.2g} in probability",
                expected=f"at most {tolerance:g}",
            )

    def _time(
        self, setting: Setting, contender: Contender, counts: tuple[int, ...] | None = None
    ) -> Any:
        """Time a contender on one and on all threads; what it answered."""
        answers: list[Any] = []
        work: list[int] = []

        def first() -> None:
            work.append(multiply_adds(lambda: answers.append(contender.run())))

        peak = peak_bytes(first)
        total = round(work[0] * contender.scale)
        for count in sorted({1, self.threads}) if counts is None else counts:
            with threads(count):
                timing = clock(contender.run, self.effort).times(contender.scale)
            rate = total / timing.seconds / self.rates[count]
            here = Setting(setting.method, setting.size_px, setting.stride_px, count)
            scaled = contender.scale != 1.0
            self.cases.append(Case(here, timing, scaled, total, rate, peak))
            log.debug("%s: %.3g s", here, timing.seconds)
        return answers[0]

    def curve(self) -> dict[str, list[dict[str, float]]]:
        """Seconds of dense pass and student by megapixels, at the usual stride, all threads."""
        found: dict[str, list[dict[str, float]]] = {DENSE: [], STUDENT: []}
        width, height = self.params.benchmark.sizes_px[0]
        for megapixels in self.params.benchmark.curve_megapixels:
            factor = (megapixels * 1e6 / (width * height)) ** 0.5
            size = round(width * factor), round(height * factor)
            for name, one in (
                (DENSE, self.contenders.dense(size, USUAL)),
                (STUDENT, self.contenders.student(size)),
            ):
                if one is None:
                    continue
                exact = size[0] * size[1] / 1e6
                seconds = clock(one.run, self.effort).seconds
                found[name].append({"megapixels": exact, "seconds": seconds})
        return found

    def seconds_per_patch(self) -> float:
        """Of the patch loop on all threads, at the first size and stride."""
        options = self.params.benchmark
        size, stride = options.sizes_px[0], options.strides_px[0]
        grid = self.contenders.grid(size, stride)
        wanted = Setting(PATCH_LOOP, size, stride, self.threads)
        timing: Timing = next(case.timing for case in self.cases if case.setting == wanted)
        return timing.seconds / (grid.rows * grid.cols)


def machine() -> dict[str, Any]:
    """What the numbers are of."""
    gpu = torch.cuda.get_device_name(0) if torch.cuda.is_available() else None
    return {
        "processor": platform.processor() or platform.machine(),
        "instructions": torch.backends.cpu.get_cpu_capability(),
        "cores": os.cpu_count(),
        "gpu": gpu,
        "torch": torch.__version__,
        "python": platform.python_version(),
    }


def benchmark(
    captures: CaptureSet,
    models: tuple[TrainedModel, TrainedModel],
    cache: TeacherCache,
    bank: PsfBank,
    params: Parameters,
) -> dict[str, Any]:
    """Measure everything on this machine.

    Args:
        captures: All captures; the photo is a labelled one of the test split.
        models: Teacher and student.
        cache: The teacher's predictions.
        bank: Point spread functions of the camera.
        params: All parameters.

    Returns:
        Content of benchmark.json.

    Raises:
        ModelError: If outputs differ that should be equal.
    """
    held = torch.get_num_threads()
    shown = captures.select(role="labelled", split="test")
    race = Race(Contenders(*models, shown, params), params)
    try:
        race.run()
        points = race.curve()
        epochs = time_epochs(captures, models[0], cache, params, race.seconds_per_patch())
    finally:
        torch.set_num_threads(held)
    rendering = Timing.of(seconds_per_capture(params, bank, params.benchmark.rendered))
    named = ratios(race.cases, params.benchmark.sizes_px[0], race.threads, epochs["seconds"])
    frames = {FRAMES: frames_per_s(race.cases, race.threads)}
    return {
        "machine": machine(),
        "ratios": named,
        **frames,
        "metrics": named | frames | {"waiting_share": epochs["waiting_share"]},
        "cases": [case.record() for case in race.cases],
        "equality": race.equality,
        "matmul_multiply_adds_per_s": {str(n): rate for n, rate in race.rates.items()},
        "seconds_per_1000_patches": {
            name: {str(batch): s for batch, s in found.items()}
            for name, found in race.batches.items()
        },
        "curve": {"points": points, "exponent": {k: exponent(v) for k, v in points.items()}},
        "epochs": epochs,
        "rendering": {"seconds_per_capture_and_process": vars(rendering)},
        "notes": race.notes,
    }
