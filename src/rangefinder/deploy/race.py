"""Patch loop, MONAI's loop, dense pass and student side by side, timed in turns."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from tqdm import tqdm

from rangefinder.config import Parameters
from rangefinder.deploy.contenders import Contender, Contenders, Size
from rangefinder.deploy.splitter import HOW_TO_GET, has_monai
from rangefinder.errors import ModelError
from rangefinder.evaluation.speed import DENSE, MONAI, PATCH_LOOP, STUDENT, USUAL, Case, Setting
from rangefinder.evaluation.timing import Effort, Timing, clock_in_turns, peak_bytes, threads
from rangefinder.evaluation.work import matrix_product, multiply_adds
from rangefinder.models.device import configure_cpu, torch_device

log = logging.getLogger(__name__)

MATMUL = "matmul"


@dataclass(frozen=True)
class Entrant:
    """A contender that has run once.

    Attributes:
        contender: What is to be timed.
        answer: What it answered.
        multiply_adds: Of the whole work.
        peak_bytes: Memory that it needed, where the system can tell.
    """

    contender: Contender
    answer: Any
    multiply_adds: int
    peak_bytes: int | None

    @classmethod
    def of(cls, contender: Contender) -> Entrant:
        """Run a contender once."""
        answers: list[Any] = []
        work: list[int] = []

        def first() -> None:
            work.append(multiply_adds(lambda: answers.append(contender.run())))

        peak = peak_bytes(first)
        return cls(contender, answers[0], round(work[0] * contender.scale), peak)


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
        configure_cpu(params.compute)
        self.threads = torch.get_num_threads()
        self.cases: list[Case] = []
        self.equality: list[dict[str, Any]] = []
        self.notes: list[str] = []
        self.rates: dict[int, float] = {}
        self.batches: dict[str, dict[int, float]] = {}
        self._product = matrix_product(options.matmul_side)

    def run(self) -> None:
        """Time everything, at every size, stride and number of threads."""
        options = self.params.benchmark
        if not has_monai():
            self.notes.append(HOW_TO_GET)
        loops = [PATCH_LOOP, MONAI] if has_monai() else [PATCH_LOOP]
        best = {name: self._best_batch(name) for name in loops}
        places = [(size, stride) for size in options.sizes_px for stride in options.strides_px]
        for size, stride in tqdm(places, "Timing", unit="setting", disable=None):
            self._compare(size, stride, best)

    def _best_batch(self, name: str) -> int:
        options = self.params.benchmark
        size, stride = options.sizes_px[0], options.strides_px[0]
        grid = self.contenders.grid(size, stride)
        loops = {
            str(batch): self._loop(name, size, stride, batch, options.sample_patches)
            for batch in options.patch_batches
        }
        timings = clock_in_turns({batch: one.run for batch, one in loops.items()}, self.effort)
        thousands = grid.rows * grid.cols / 1000
        found = {
            int(batch): timing.times(loops[batch].scale).seconds / thousands
            for batch, timing in timings.items()
        }
        self.batches[name] = found
        return min(found, key=lambda batch: found[batch])

    def _loop(
        self, name: str, size: Size, stride: int, batch: int, sample: int | None
    ) -> Contender:
        make = self.contenders.patch_loop if name == PATCH_LOOP else self.contenders.monai
        return make(size, stride, batch, sample)

    def _compare(self, size: Size, stride: int, best: Mapping[str, int]) -> None:
        """One size and stride: everything in turns, and that loops and dense pass say the same.

        At the first size and stride the loops run whole on all threads; else a sample of them.
        """
        options = self.params.benchmark
        whole = (size, stride) == (options.sizes_px[0], options.strides_px[0])
        others = self._without_loops(size, stride)
        make = partial(self._loops, size, stride, best)
        loops = {1: make(options.sample_patches)}
        loops[self.threads] = make(None) if whole else loops[1]
        for count, entrants in sorted(loops.items()):
            self._equal(size, stride, others.get(DENSE), entrants)
            self._time(size, stride, count, others | entrants)

    def _without_loops(self, size: Size, stride: int) -> dict[str, Entrant]:
        found = {}
        dense = self.contenders.dense(size, stride)
        if dense is None:
            self.notes.append(f"stride {stride} px: the dense pass does not equal the patch loop")
        else:
            found[DENSE] = Entrant.of(dense)
        if stride == self.params.benchmark.strides_px[0]:
            found[STUDENT] = Entrant.of(self.contenders.student(size))
        return found

    def _loops(
        self, size: Size, stride: int, best: Mapping[str, int], sample: int | None
    ) -> dict[str, Entrant]:
        return {
            name: Entrant.of(self._loop(name, size, stride, batch, sample))
            for name, batch in best.items()
        }

    def _equal(
        self, size: Size, stride: int, dense: Entrant | None, loops: Mapping[str, Entrant]
    ) -> None:
        if dense is None:
            return
        truth = dense.answer.flatten(0, 1)
        for name, loop in loops.items():
            cells = loop.contender.cells
            wanted = truth if cells is None else truth[cells]
            difference = float((wanted - loop.answer.flatten(0, -2)).abs().max())
            self._record(name, size, stride, difference, len(wanted))

    def _record(self, name: str, size: Size, stride: int, difference: float, patches: int) -> None:
        gpu = torch_device(self.params.compute.device).type == "cuda"
        tolerance = self.params.cache.gpu_tolerance if gpu else self.params.cache.tolerance
        width, height = size
        pair = f"{DENSE} and {name}"
        where = {"width_px": width, "height_px": height, "stride_px": stride}
        found = {"largest_difference": difference, "tolerance": tolerance, "patches": patches}
        self.equality.append({"outputs": pair, **where, **found})
        if difference > tolerance:
            raise ModelError(
                f"{pair} should say the same at {width}x{height}, stride {stride}",
                got=f"a difference of {difference:.2g} in probability",
                expected=f"at most {tolerance:g}",
            )

    def _time(self, size: Size, stride: int, count: int, entrants: Mapping[str, Entrant]) -> None:
        """Time entrants on some threads, and a matrix product among them."""
        works = {MATMUL: self._product}
        works |= {name: one.contender.run for name, one in entrants.items()}
        with threads(count):
            timings = clock_in_turns(works, self.effort)
        matmul = self.params.benchmark.matmul_side**3 / timings[MATMUL].seconds
        self.rates.setdefault(count, matmul)
        for name, one in entrants.items():
            scale = one.contender.scale
            timing = timings[name].times(scale)
            setting = Setting(name, size, None if name == STUDENT else stride, count)
            rate = one.multiply_adds / timing.seconds / matmul
            self.cases.append(
                Case(setting, timing, scale != 1.0, one.multiply_adds, rate, one.peak_bytes)
            )
            log.debug("%s: %.3g s", setting, timing.seconds)

    def curve(self) -> dict[str, list[dict[str, float]]]:
        """Seconds of dense pass and student by megapixels, at the usual stride, all threads."""
        found: dict[str, list[dict[str, float]]] = {DENSE: [], STUDENT: []}
        width, height = self.params.benchmark.sizes_px[0]
        for megapixels in self.params.benchmark.curve_megapixels:
            factor = (megapixels * 1e6 / (width * height)) ** 0.5
            size = round(width * factor), round(height * factor)
            works = {STUDENT: self.contenders.student(size).run}
            dense = self.contenders.dense(size, USUAL)
            if dense is not None:
                works[DENSE] = dense.run
            exact = size[0] * size[1] / 1e6
            for name, timing in clock_in_turns(works, self.effort).items():
                found[name].append({"megapixels": exact, "seconds": timing.seconds})
        return found

    def seconds_per_patch(self) -> float:
        """Of the patch loop on all threads, at the first size and stride."""
        options = self.params.benchmark
        size, stride = options.sizes_px[0], options.strides_px[0]
        grid = self.contenders.grid(size, stride)
        wanted = Setting(PATCH_LOOP, size, stride, self.threads)
        timing: Timing = next(case.timing for case in self.cases if case.setting == wanted)
        return timing.seconds / (grid.rows * grid.cols)
