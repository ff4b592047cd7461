"""A registered model as an MLflow pyfunc: photos to distances [m].

MLflow stores this package beside the weights, so the model loads where it is not installed.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from rangefinder.config import Device
from rangefinder.coordinates import Placement
from rangefinder.inference.predictor import REPORTED_LEVEL, Outputs, Predictor
from rangefinder.models.model_files import TrainedModel, load_model

REQUESTED = Outputs(accuracy=False)
OUTPUTS = ("distance_m", "near_m", "far_m")
PLACEMENT = {"origin_x_px": 0.0, "origin_y_px": 0.0, "scale": 1.0}
Float = NDArray[np.float32]


class ServedModel:
    """Teacher or student behind MLflow's `predict`.

    Args:
        model: The trained model.
        device: `auto`, `cpu` or `cuda`.
    """

    def __init__(self, model: TrainedModel, device: Device = "auto") -> None:
        self._predict = Predictor(model, device)

    def predict(self, images: Float, params: Mapping[str, Any] | None = None) -> dict[str, Float]:
        """Distance of every pixel.

        Args:
            images: `[N, 3, H, W]` linear light, 0..1.
            params: Where the images sit on the sensor: `origin_x_px`, `origin_y_px`, `scale`.

        Returns:
            `[N, H, W]` each: distance [m], and the near and far end [m] of the central 80 %
            interval.
        """
        place = PLACEMENT | dict(params or {})
        placement = Placement((place["origin_x_px"], place["origin_y_px"]), place["scale"])
        maps = []
        for image in np.asarray(images, dtype=np.float32):
            prediction = self._predict(torch.from_numpy(image.copy()), placement, REQUESTED)
            maps.append(np.stack([prediction.distance_m, *prediction.interval_m[REPORTED_LEVEL]]))
        stacked = np.stack(maps, axis=1).astype(np.float32)
        return dict(zip(OUTPUTS, stacked, strict=True))


def _load_pyfunc(data_path: str, model_config: Mapping[str, Any] | None = None) -> ServedModel:
    """Entry point that MLflow calls; `model_config` names the device."""
    device: Device = (model_config or {}).get("device", "auto")
    return ServedModel(load_model(Path(data_path)), device)
