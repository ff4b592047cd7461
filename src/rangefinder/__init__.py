"""Metric distance from the blur in one photo, through a lens you already own.

    import rangefinder

    session = rangefinder.load_model("data/06_models/student")
    result = session.measure("photo.tif")
    print(result.at(240, 180), result.distance_m.shape)
    near_m, far_m = result.interval_m(0.8)
    both = result.two_distances
    result.save("measured")

Neither Kedro nor Lightning is imported, MLflow only for models of the registry, and torch not for
exported files.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rangefinder.config import Device
    from rangefinder.errors import RangefinderError
    from rangefinder.inference.interface import Runtime
    from rangefinder.inference.session import Measurement, OneOfTwo, PointReading, Session

__version__ = "0.1.0"
__all__ = [
    "Measurement",
    "OneOfTwo",
    "PointReading",
    "RangefinderError",
    "Session",
    "__version__",
    "load_model",
]
_PLACES = {
    "Measurement": "rangefinder.inference.session",
    "OneOfTwo": "rangefinder.inference.session",
    "PointReading": "rangefinder.inference.session",
    "RangefinderError": "rangefinder.errors",
    "Session": "rangefinder.inference.session",
}


def load_model(
    name: str | None = None,
    *,
    device: Device = "auto",
    runtime: Runtime | None = None,
    force: bool = False,
    env: str = "local",
    trust_code: bool = False,
) -> Session:
    """Load a trained model to measure photos with.

    Args:
        name: A model's folder, an exported file (.onnx), `models:/NAME@ALIAS`, or None: the
            champion of the project around the working directory, else its candidate.
        device: `auto`, `cpu` or `cuda`.
        runtime: `torch`, `onnx` or `openvino`; `auto`: the fastest that is installed and agrees;
            None: torch, and onnx for an exported file.
        force: Measure photos of other cameras, with a warning, instead of refusing them.
        env: The project's configuration environment, for models of the registry.
        trust_code: Import the network that a custom teacher's card names; it may do anything.

    Raises:
        RangefinderError: If there is no such model or device, or it cannot be used.
    """
    from rangefinder.inference.session import Session
    from rangefinder.models.consent import EVERYTHING, trust
    from rangefinder.tracking.predictors import find_predictor

    if trust_code:
        trust(EVERYTHING)
    return Session(find_predictor(name, runtime, device, env), force=force)


def __getattr__(name: str) -> Any:
    if name not in _PLACES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    import importlib

    return getattr(importlib.import_module(_PLACES[name]), name)
