"""Predictors by the name of a model: an exported file, a folder, or an entry of the registry."""

from __future__ import annotations

from pathlib import Path

from rangefinder.config import Device
from rangefinder.inference.exported import is_exported
from rangefinder.inference.interface import PhotoPredictor, Runtime
from rangefinder.serving.runtimes import predictor_of_file, predictor_of_model


def find_predictor(
    name: str | None, runtime: Runtime | None = None, device: Device = "auto", env: str = "local"
) -> PhotoPredictor:
    """Open a model; torch is imported only where it computes.

    Args:
        name: An exported file (.onnx); a model's folder, `models:/NAME@ALIAS` or None: see
            `find_model`.
        runtime: What computes it; None: torch, and ONNX Runtime for an exported file.
        device: `auto`, `cpu` or `cuda`.
        env: The project's configuration environment.

    Raises:
        ModelError: If there is no such model, or it cannot be used.
        ConfigError: If there is no such device or project, or a package is not installed.
    """
    if name is not None and is_exported(name):
        return predictor_of_file(Path(name), runtime, device)
    from rangefinder.tracking.registry import find_model

    return predictor_of_model(find_model(name, env), runtime, device)
