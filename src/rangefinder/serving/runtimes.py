"""Which runtime computes a model: torch, ONNX Runtime, OpenVINO, or the fastest that agrees.

Models of the project are exported once to be computed by another runtime than torch. Files and
choices are kept in the user's cache folder; removing it does no harm.
"""

from __future__ import annotations

import json
import logging
import os
import platform
import time
from collections.abc import Callable, Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from rangefinder.common.files import atomic_write
from rangefinder.config import Device
from rangefinder.errors import ConfigError
from rangefinder.inference.exported import FilePredictor, FileRuntime, installed_runtimes
from rangefinder.inference.interface import PhotoPredictor, Runtime
from rangefinder.models.card import Card
from rangefinder.serving.export_check import (
    Predict,
    check_photos,
    checked_export,
    deviations,
    within_tolerance,
)

if TYPE_CHECKING:
    from rangefinder.models.model_files import TrainedModel

TIMED_PX = 1024  # longest side of the photo that runtimes are timed on
TIMES = 3  # of which the quickest counts
_PACKAGES = ("torch", "onnxruntime", "openvino")
Candidates = Mapping[str, Callable[[], PhotoPredictor]]
log = logging.getLogger(__name__)


def cache_folder() -> Path:
    """Folder of what this program keeps for the user and can make anew."""
    import platformdirs

    return platformdirs.user_cache_path("rangefinder")


def predictor_of_file(path: Path, runtime: Runtime | None, device: Device) -> PhotoPredictor:
    """Predictor of an exported file; runtime None: ONNX Runtime.

    Raises:
        ConfigError: If the runtime is not installed or cannot compute a file, or there is no such
            device.
        ModelError: If the file cannot be used.
    """
    if runtime == "torch" or device == "cuda":
        raise ConfigError(
            f"{path} is an exported file",
            got=f"runtime {runtime or 'onnx'}, device {device}",
            expected="runtime onnx, openvino or auto, device cpu or auto",
            todo="Name the folder of the model for torch or a GPU.",
        )
    if runtime != "auto":
        return FilePredictor(path, runtime or "onnx")
    reference = FilePredictor(path)
    others: dict[str, Callable[[], PhotoPredictor]] = {
        name: _opener(path, name) for name in installed_runtimes() if name != "onnx"
    }
    chosen = fastest(reference.fingerprint, {"onnx": lambda: reference, **others}, reference)
    return reference if chosen == "onnx" else others[chosen]()


def predictor_of_model(
    model: TrainedModel, runtime: Runtime | None, device: Device
) -> PhotoPredictor:
    """Predictor of a trained model; runtime None: torch.

    Raises:
        ConfigError: If there is no such device, or the runtime or what an export needs is not
            installed.
        ModelError: If the graph cannot hold the network.
    """
    from rangefinder.inference.predictor import Predictor

    if runtime is None or runtime == "torch" or device == "cuda":
        return Predictor(model, device)
    if runtime != "auto":
        return FilePredictor(exported_file(model), runtime)
    path = exported_file(model)
    candidates: dict[str, Callable[[], PhotoPredictor]] = {
        name: _opener(path, name) for name in installed_runtimes()
    }
    candidates["torch"] = lambda: Predictor(model, device)
    exact = Predictor(model, "cpu", exact=True)
    return candidates[fastest(model.fingerprint, candidates, exact)]()


def _opener(path: Path, runtime: FileRuntime) -> Callable[[], PhotoPredictor]:
    return lambda: FilePredictor(path, runtime)


def exported_file(model: TrainedModel) -> Path:
    """The model as a file in the cache folder, exported and checked on first use.

    Raises:
        ConfigError: If packages are missing.
        ModelError: If the graph cannot hold the network, or its distances differ.
    """
    path = cache_folder() / f"{model.fingerprint}.onnx"
    if path.is_file():
        return path
    log.warning("Exporting the model once, to %s; this takes about a minute", path)
    content, _ = checked_export(model)
    return atomic_write(path, lambda file: file.write_bytes(content))


def fastest(fingerprint: str, candidates: Candidates, reference: Predict) -> str:
    """Name of the fastest runtime whose distances are those of the reference.

    It is found once for a model on a machine, and kept in the cache folder.

    Args:
        fingerprint: Of the model.
        candidates: Runtimes; that of an exported file is compared first.
        reference: The model in float32.
    """
    path = cache_folder() / f"{fingerprint}-{'-'.join(sorted(candidates))}.json"
    machine = _machine()
    try:
        known = json.loads(path.read_text(encoding="utf-8"))
        if known["machine"] == machine:
            return str(known["runtime"])
    except (OSError, ValueError, KeyError, TypeError):
        pass  # not chosen yet
    log.warning("Comparing runtimes for this model once: %s", ", ".join(candidates))
    seconds = {}
    for name, open_candidate in candidates.items():
        predictor = open_candidate()
        if isinstance(predictor, FilePredictor) and predictor is not reference:
            results = deviations(reference, predictor, check_photos(predictor.card))
            if not within_tolerance(results):
                worst = max(one.distance for one in results)
                log.warning("%s is not used: its distances differ by %.1e", name, worst)
                continue
        seconds[name] = _seconds(predictor, predictor.card)
    chosen = min(seconds, key=lambda name: seconds[name])
    content = {"runtime": chosen, "seconds": seconds, "machine": machine}
    text = json.dumps(content, indent=2) + "\n"
    atomic_write(path, lambda file: file.write_text(text, encoding="utf-8"))
    return chosen


def _seconds(predictor: PhotoPredictor, card: Card) -> float:
    """Least time [s] for a photo of the camera, or a part of it."""
    height, width = (min(side, TIMED_PX) for side in (card.camera.height_px, card.camera.width_px))
    photo = np.random.default_rng(0).random((3, height, width), dtype=np.float32)
    times = []
    for _ in range(1 + TIMES):  # the first one sets up
        start = time.perf_counter()
        predictor.posterior(photo).decode()
        times.append(time.perf_counter() - start)
    return round(min(times[1:]), 4)


def _machine() -> dict[str, str]:
    """What decides which runtime is fastest, and whether it agrees."""
    versions = {}
    for package in _PACKAGES:
        try:
            versions[package] = version(package)
        except PackageNotFoundError:
            versions[package] = ""
    return {"processor": _processor(), "cores": str(os.cpu_count()), **versions}


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor()
    return next((line for line in lines if line.startswith("model name")), platform.machine())
