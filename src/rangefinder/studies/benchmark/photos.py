"""Whole photos as users predict them: by every runtime, as a stream of JPEGs, and large ones."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from io import BytesIO
from typing import Any

import numpy as np
from PIL import Image

from rangefinder.captures.manifest import CaptureSet
from rangefinder.common.timing import Effort, time_in_turns
from rangefinder.errors import ConfigError, ModelError
from rangefinder.inference.exported import FilePredictor, installed_runtimes
from rangefinder.inference.interface import DISTANCE_ONLY, PhotoPredictor
from rangefinder.inference.predictor import Predictor
from rangefinder.models.model_files import TrainedModel
from rangefinder.optics.srgb import srgb_pixels, srgb_to_linear
from rangefinder.serving.runtimes import exported_file
from rangefinder.studies.benchmark.methods import MethodFactory
from rangefinder.studies.benchmark.timing import peak_bytes

JPEG_QUALITY = 95
DIFFERENT_FRAMES = 8  # of a stream, which repeats them
PERCENTILES = (50, 95, 99)  # of latency


def time_runtimes(
    models: Mapping[str, TrainedModel],
    image: np.ndarray[Any, np.dtype[np.float32]],
    names: tuple[str, ...],
    effort: Effort,
) -> tuple[dict[str, dict[str, float]], list[str]]:
    """Time a distance at every pixel by each runtime, in turns, on all threads.

    Args:
        models: Teacher (its dense pass, at its stride) and student, by kind.
        image: `[3, H, W]` linear light.
        names: Runtimes; those that are not installed are left out.
        effort: Number of turns.

    Returns:
        Seconds by kind and runtime, and what could not be measured.
    """
    works: dict[str, Callable[[], Any]] = {}
    notes = []
    for kind, model in models.items():
        for name in names:
            try:
                predictor = _predictor(model, name)
            except (ConfigError, ModelError) as exc:
                notes.append(f"{kind} by {name}: {exc}")
                continue
            works[f"{kind} {name}"] = _prediction(predictor, image)
    seconds: dict[str, dict[str, float]] = {kind: {} for kind in models}
    for key, timing in time_in_turns(works, effort).items():
        kind, name = key.split()
        seconds[kind][name] = timing.seconds
    return seconds, notes


def _predictor(model: TrainedModel, runtime: str) -> PhotoPredictor:
    if runtime == "torch":
        return Predictor(model, "cpu")
    for name in installed_runtimes():
        if name == runtime:
            return FilePredictor(exported_file(model), name)
    raise ConfigError(f"{runtime} is not installed")


def _prediction(
    predictor: PhotoPredictor, image: np.ndarray[Any, np.dtype[np.float32]]
) -> Callable[[], Any]:
    return lambda: predictor.posterior(image).decode(DISTANCE_ONLY)


def time_stream(predictor: PhotoPredictor, captures: CaptureSet, frames: int) -> dict[str, float]:
    """Decode and predict JPEGs one after the other, as a stream brings them.

    Returns:
        Frames per second over all of them, and percentiles of the time of one [s].
    """
    some = range(min(DIFFERENT_FRAMES, len(captures)))
    files = [_jpeg(captures.image(index).numpy()) for index in some]
    times = []
    for number in range(frames + 1):  # the first one warms up
        start = time.perf_counter()
        with Image.open(BytesIO(files[number % len(files)])) as picture:
            light = srgb_to_linear(np.asarray(picture, np.float32).transpose(2, 0, 1) / 255)
        predictor.posterior(light).decode(DISTANCE_ONLY)
        times.append(time.perf_counter() - start)
    seconds = np.array(times[1:])
    latency = dict(zip(PERCENTILES, np.percentile(seconds, PERCENTILES), strict=True))
    return {
        "frames": frames,
        "frames_per_s": frames / float(seconds.sum()),
        **{f"p{percentile}_s": float(value) for percentile, value in latency.items()},
    }


def _jpeg(light: np.ndarray[Any, np.dtype[np.float32]]) -> bytes:
    file = BytesIO()
    Image.fromarray(srgb_pixels(light)).save(file, "jpeg", quality=JPEG_QUALITY)
    return file.getvalue()


def measure_large(methods: MethodFactory, megapixels: tuple[float, ...]) -> list[dict[str, Any]]:
    """Time and memory of the student on large photos, each predicted once.

    Returns:
        For each: its megapixels, seconds, and memory beyond what was held before [bytes].
    """
    found = []
    for wanted in megapixels:
        height = round((wanted * 1e6 * 3 / 4) ** 0.5)
        size = round(wanted * 1e6 / height), height
        method, start = methods.student(size), time.perf_counter()
        memory = peak_bytes(method.run)
        seconds = time.perf_counter() - start
        exact = size[0] * size[1] / 1e6
        found.append({"megapixels": exact, "seconds": seconds, "peak_bytes": memory})
    return found
