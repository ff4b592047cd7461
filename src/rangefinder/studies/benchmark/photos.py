"""Whole photos as users predict them: by every runtime, as a stream of JPEGs, and large ones."""

from __future__ import annotations

import itertools
import time
import timeit
from collections.abc import Callable, Mapping, Sequence
from io import BytesIO
from typing import Any, Literal, TypeAlias

import numpy as np
from PIL import Image

from rangefinder.captures.manifest import CaptureSet
from rangefinder.common.timing import Effort, time_in_turns
from rangefinder.errors import ConfigError, ModelError
from rangefinder.inference.exported import FilePredictor, FileRuntime
from rangefinder.inference.interface import DISTANCE_ONLY, PhotoPredictor
from rangefinder.inference.predictor import Predictor
from rangefinder.models.model_files import TrainedModel
from rangefinder.optics.srgb import srgb_pixels, srgb_to_linear
from rangefinder.serving.runtimes import exported_file
from rangefinder.studies.benchmark.methods import MethodFactory
from rangefinder.studies.benchmark.report import PERCENTILES
from rangefinder.studies.benchmark.timing import peak_bytes

ComparedRuntime: TypeAlias = Literal["torch"] | FileRuntime
JPEG_QUALITY = 95
DIFFERENT_FRAMES = 8  # of a stream, which repeats them


def time_runtimes(
    models: Mapping[str, TrainedModel],
    image: np.ndarray[Any, np.dtype[np.float32]],
    names: Sequence[ComparedRuntime],
    effort: Effort,
) -> tuple[dict[str, dict[str, float]], list[str]]:
    """Time a distance at every pixel by each runtime, in turns, on all threads.

    Args:
        models: Teacher (its dense pass, at its stride) and student, by kind.
        image: `[3, H, W]` linear light.
        names: Runtimes.
        effort: Number of turns.

    Returns:
        Seconds by kind and runtime, and what could not be measured.
    """
    works: dict[tuple[str, str], Callable[[], Any]] = {}
    notes = []
    for kind, name in itertools.product(models, names):
        try:
            works[kind, name] = _prediction(_predictor(models[kind], name), image)
        except (ConfigError, ModelError) as exc:
            notes.append(f"{kind} by {name}: {exc}")
    seconds: dict[str, dict[str, float]] = {kind: {} for kind in models}
    for (kind, runtime), timing in time_in_turns(works, effort).items():
        seconds[kind][runtime] = timing.seconds
    return seconds, notes


def _predictor(model: TrainedModel, runtime: ComparedRuntime) -> PhotoPredictor:
    if runtime == "torch":
        return Predictor(model, "cpu")
    return FilePredictor(exported_file(model), runtime)  # refuses what is not installed


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
    """Memory of the student on large photos, and the time of a second prediction.

    Returns:
        For each: its megapixels, seconds, and memory beyond what was held before [bytes].
    """
    found = []
    for wanted in megapixels:
        height = round((wanted * 1e6 * 3 / 4) ** 0.5)
        size = round(wanted * 1e6 / height), height
        run = methods.student(size).run
        memory = peak_bytes(run)
        seconds = timeit.timeit(run, number=1)
        exact = size[0] * size[1] / 1e6
        found.append({"megapixels": exact, "seconds": seconds, "peak_bytes": memory})
    return found
