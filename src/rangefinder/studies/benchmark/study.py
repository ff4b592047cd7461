"""The benchmark: patch loop, MONAI's loop, dense pass and student side by side; epochs."""

from __future__ import annotations

import logging
import os
import platform
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from tqdm import tqdm

from rangefinder.cache.store import TeacherCache
from rangefinder.captures.manifest import CaptureSet
from rangefinder.common.timing import Effort, time_in_turns
from rangefinder.config import Parameters
from rangefinder.errors import ModelError
from rangefinder.inference.predictor import Predictor
from rangefinder.models.device import configure_cpu, torch_device
from rangefinder.models.model_files import TrainedModel
from rangefinder.optics.psf_bank import PsfBank
from rangefinder.studies.benchmark.costs import stage_costs
from rangefinder.studies.benchmark.epochs import time_epochs
from rangefinder.studies.benchmark.methods import HOW_TO_GET, Method, MethodFactory, Size, has_monai
from rangefinder.studies.benchmark.photos import measure_large, time_runtimes, time_stream
from rangefinder.studies.benchmark.report import (
    BEST_RUNTIMES,
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
    ratio_of_best,
    ratios,
)
from rangefinder.studies.benchmark.timing import matrix_product, multiply_adds, peak_bytes, threads

MATMUL = "matmul"
log = logging.getLogger(__name__)


def benchmark(
    captures: CaptureSet,
    models: tuple[TrainedModel, TrainedModel],
    cache: TeacherCache,
    bank: PsfBank,
    params: Parameters,
) -> dict[str, Any]:
    """Measure everything on this machine; the photo is a labelled one of the test split.

    Returns the content of benchmark.json.

    Raises:
        ModelError: If outputs differ that should be equal.
    """
    threads_before = torch.get_num_threads()
    test = captures.select(role="labelled", split="test")
    comparison = MethodComparison(MethodFactory(*models, test, params), params)
    try:
        comparison.run()
        points = comparison.curve()
        large = measure_large(comparison.methods, params.benchmark.large_megapixels)
        runtimes = comparison.runtimes(dict(zip((DENSE, STUDENT), models, strict=True)))
        predictor = Predictor(models[1], params.compute.device)
        stream = time_stream(predictor, test, params.benchmark.stream_frames)
        epochs = time_epochs(captures, models[0], cache, params, comparison.seconds_per_patch())
        costs = stage_costs(captures, models[0], params, bank, epochs["cpu_step_s"])
    finally:
        torch.set_num_threads(threads_before)
    named = ratios(
        comparison.cases, params.benchmark.sizes_px[0], comparison.threads, epochs["seconds"]
    )
    named |= {BEST_RUNTIMES: ratio_of_best(runtimes)}
    frames = {FRAMES: frames_per_s(comparison.cases, comparison.threads)}
    return {
        "machine": _machine(),
        "ratios": named,
        **frames,
        "metrics": named | frames | {"waiting_share": epochs["waiting_share"]},
        "cases": [case.record() for case in comparison.cases],
        "equality": comparison.equality,
        "matmul_multiply_adds_per_s": {str(n): rate for n, rate in comparison.rates.items()},
        "seconds_per_1000_patches": {
            name: {str(batch): s for batch, s in times.items()}
            for name, times in comparison.batches.items()
        },
        "curve": {"points": points, "exponent": {k: exponent(v) for k, v in points.items()}},
        "runtimes": runtimes,
        "stream": stream,
        "large_photos": large,
        "costs": costs,
        "epochs": epochs,
        "notes": comparison.notes,
    }


def _machine() -> dict[str, Any]:
    return {
        "processor": platform.processor() or platform.machine(),
        "instructions": torch.backends.cpu.get_cpu_capability(),
        "cores": os.cpu_count(),
        "gpu": torch.cuda.get_device_name(0) if torch.cuda.is_available() else None,
        "torch": torch.__version__,
        "python": platform.python_version(),
    }


@dataclass(frozen=True)
class MethodRun:
    """A method that has run once: predictions, work of the whole, memory where reported."""

    method: Method
    output: Any
    multiply_adds: int
    peak_bytes: int | None

    @classmethod
    def of(cls, method: Method) -> MethodRun:
        """Run a method once."""
        outputs: list[Any] = []
        work: list[int] = []

        def first() -> None:
            work.append(multiply_adds(lambda: outputs.append(method.run())))

        peak = peak_bytes(first)
        return cls(method, outputs[0], round(work[0] * method.scale), peak)


class MethodComparison:
    """Times methods in turns and checks that their outputs are equal.

    Args:
        methods: Builds them.
        params: All parameters.

    Attributes:
        cases: All measurements.
        equality: Pairs of outputs, and their largest difference.
        notes: What could not be measured, and why.
        rates: Multiply-adds per second of a large matrix product, by threads.
        batches: Seconds per 1000 patches of both loops, by batch size.
    """

    def __init__(self, methods: MethodFactory, params: Parameters) -> None:
        self.methods, self.params, self.options = methods, params, params.benchmark
        options = self.options
        self.effort = Effort(options.min_repeats, options.max_repeats, options.seconds_per_case)
        configure_cpu(params.compute)
        self.threads = torch.get_num_threads()
        self.cases: list[Case] = []
        self.equality: list[dict[str, Any]] = []
        self.notes: list[str] = []
        self.rates: dict[int, float] = {}
        self.batches: dict[str, dict[int, float]] = {}
        self._first = options.sizes_px[0], options.strides_px[0]
        self._product = matrix_product(options.matmul_side)

    def run(self) -> None:
        """Time everything, at every size, stride and number of threads."""
        loops = [PATCH_LOOP]
        if has_monai():
            loops.append(MONAI)
        else:
            self.notes.append(HOW_TO_GET)
        batches = {name: self._best_batch(name) for name in loops}
        settings = [(size, s) for size in self.options.sizes_px for s in self.options.strides_px]
        for size, stride in tqdm(settings, "Timing", unit="setting", disable=None):
            self._compare(size, stride, batches)

    def curve(self) -> dict[str, list[dict[str, float]]]:
        """Seconds of dense pass and student by megapixels, at the usual stride, all threads."""
        curves: dict[str, list[dict[str, float]]] = {DENSE: [], STUDENT: []}
        width, height = self.options.sizes_px[0]
        for megapixels in self.options.curve_megapixels:
            factor = (megapixels * 1e6 / (width * height)) ** 0.5
            size = round(width * factor), round(height * factor)
            works = {STUDENT: self.methods.student(size).run}
            dense = self.methods.dense(size, USUAL)
            if dense is not None:
                works[DENSE] = dense.run
            exact = size[0] * size[1] / 1e6
            for name, timing in time_in_turns(works, self.effort).items():
                curves[name].append({"megapixels": exact, "seconds": timing.seconds})
        return curves

    def runtimes(self, models: Mapping[str, TrainedModel]) -> dict[str, dict[str, float]]:
        """See `time_runtimes`, at the first size."""
        image, _ = self.methods.photo(self.options.sizes_px[0])
        names = self.options.runtimes
        seconds, notes = time_runtimes(models, image.numpy(), names, self.effort)
        self.notes += notes
        return seconds

    def seconds_per_patch(self) -> float:
        """Of the patch loop on all threads, at the first size and stride."""
        setting = Setting(PATCH_LOOP, *self._first, self.threads)
        timing = next(case.timing for case in self.cases if case.setting == setting)
        grid = self.methods.grid(*self._first)
        return timing.seconds / (grid.rows * grid.cols)

    def _best_batch(self, name: str) -> int:
        loops = {
            batch: self._loop(name, *self._first, batch, self.options.sample_patches)
            for batch in self.options.patch_batches
        }
        works = {str(batch): loop.run for batch, loop in loops.items()}
        timings = time_in_turns(works, self.effort)
        grid = self.methods.grid(*self._first)
        thousands = grid.rows * grid.cols / 1000
        times = {
            batch: timings[str(batch)].times(loop.scale).seconds / thousands
            for batch, loop in loops.items()
        }
        self.batches[name] = times
        return min(times, key=lambda batch: times[batch])

    def _loop(self, name: str, size: Size, stride: int, batch: int, sample: int | None) -> Method:
        make = self.methods.patch_loop if name == PATCH_LOOP else self.methods.monai
        return make(size, stride, batch, sample)

    def _compare(self, size: Size, stride: int, batches: Mapping[str, int]) -> None:
        """All methods at one size and stride; loops and dense pass must have equal outputs.

        At the first size and stride the loops run whole on all threads; else on a sample.
        """

        def loops(sample: int | None) -> dict[str, MethodRun]:
            return {
                name: MethodRun.of(self._loop(name, size, stride, batch, sample))
                for name, batch in batches.items()
            }

        others = self._without_loops(size, stride)
        runs = {1: loops(self.options.sample_patches)}
        runs[self.threads] = loops(None) if (size, stride) == self._first else runs[1]
        for count, looped in sorted(runs.items()):
            if DENSE in others:
                self._require_equal(size, stride, others[DENSE], looped)
            self._time(size, stride, count, others | looped)

    def _without_loops(self, size: Size, stride: int) -> dict[str, MethodRun]:
        runs = {}
        dense = self.methods.dense(size, stride)
        if dense is None:
            self.notes.append(f"stride {stride} px: the dense pass does not equal the patch loop")
        else:
            runs[DENSE] = MethodRun.of(dense)
        if stride == self.options.strides_px[0]:
            runs[STUDENT] = MethodRun.of(self.methods.student(size))
        return runs

    def _require_equal(
        self, size: Size, stride: int, dense: MethodRun, loops: Mapping[str, MethodRun]
    ) -> None:
        gpu = torch_device(self.params.compute.device).type == "cuda"
        tolerance = self.params.cache.gpu_tolerance if gpu else self.params.cache.tolerance
        (width, height), expected = size, dense.output.flatten(0, 1)
        for name, loop in loops.items():
            cells, pair = loop.method.cells, f"{DENSE} and {name}"
            sample = expected if cells is None else expected[cells]
            difference = float((sample - loop.output.flatten(0, -2)).abs().max())
            self.equality.append(
                {
                    "outputs": pair,
                    "width_px": width,
                    "height_px": height,
                    "stride_px": stride,
                    "largest_difference": difference,
                    "tolerance": tolerance,
                    "patches": len(sample),
                }
            )
            if difference > tolerance:
                raise ModelError(
                    f"{pair} should have equal outputs at {width}x{height}, stride {stride}",
                    got=f"a difference of {difference:.2g} in probability",
                    expected=f"at most {tolerance:g}",
                )

    def _time(self, size: Size, stride: int, count: int, runs: Mapping[str, MethodRun]) -> None:
        """Time runs on `count` threads, and a matrix product among them."""
        works = {MATMUL: self._product} | {name: run.method.run for name, run in runs.items()}
        with threads(count):
            timings = time_in_turns(works, self.effort)
        matmul = self.options.matmul_side**3 / timings[MATMUL].seconds
        self.rates.setdefault(count, matmul)
        for name, run in runs.items():
            scale = run.method.scale
            timing = timings[name].times(scale)
            setting = Setting(name, size, None if name == STUDENT else stride, count)
            share = run.multiply_adds / timing.seconds / matmul
            self.cases.append(
                Case(setting, timing, scale != 1.0, run.multiply_adds, share, run.peak_bytes)
            )
            log.debug("%s: %.3g s", setting, timing.seconds)
