"""A registered model as MLflow loads it: photos in, distances in metres out.

MLflow keeps this package beside the weights, so the model loads where the project is not installed.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from rangefinder.config import CacheParams
from rangefinder.deploy.measure import LEVEL, ranger
from rangefinder.location import Placement
from rangefinder.models.io import TrainedModel, load_model

OUTPUTS = ("distance_m", "near_m", "far_m")
PLACEMENT = {"origin_x_px": 0.0, "origin_y_px": 0.0, "scale": 1.0}
Float = NDArray[np.float32]


class ServedModel:
    """Teacher or student behind MLflow's `predict`.

    Args:
        model: The trained model.
    """

    def __init__(self, model: TrainedModel) -> None:
        self._measure = ranger(model, model.card.camera, CacheParams())

    def predict(self, images: Float, params: Mapping[str, Any] | None = None) -> dict[str, Float]:
        """Distance of every pixel.

        Args:
            images: `[N, 3, H, W]` linear light, 0..1.
            params: Where the images sit on the sensor: `origin_x_px`, `origin_y_px`, `scale`.

        Returns:
            `[N, H, W]` each: distance [m], and the near and far end [m] of the central interval
            that holds the truth with 80 % probability.
        """
        given = PLACEMENT | dict(params or {})
        placement = Placement((given["origin_x_px"], given["origin_y_px"]), given["scale"])
        maps = []
        for image in np.asarray(images, dtype=np.float32):
            ranging = self._measure(torch.from_numpy(image.copy()), placement)
            maps.append(np.stack([ranging.distance_m, *ranging.interval_m[LEVEL]]))
        stacked = np.stack(maps, axis=1).astype(np.float32)
        return dict(zip(OUTPUTS, stacked, strict=True))


def _load_pyfunc(data_path: str) -> ServedModel:
    """Entry point that MLflow calls."""
    return ServedModel(load_model(Path(data_path)))
