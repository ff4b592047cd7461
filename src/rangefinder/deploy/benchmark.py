"""The benchmark: patch loop, MONAI's loop, dense pass and student side by side, and epochs."""

from __future__ import annotations

import os
import platform
from typing import Any

import torch

from rangefinder.cache.store import TeacherCache
from rangefinder.captures.manifest import CaptureSet
from rangefinder.captures.pace import seconds_per_capture
from rangefinder.config import Parameters
from rangefinder.deploy.contenders import Contenders
from rangefinder.deploy.epochs import time_epochs
from rangefinder.deploy.race import Race
from rangefinder.evaluation.speed import FRAMES, exponent, frames_per_s, ratios
from rangefinder.evaluation.timing import Timing
from rangefinder.models.io import TrainedModel
from rangefinder.optics.lens import PsfBank


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
