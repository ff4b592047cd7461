"""The student as fast as it goes: distance and one interval of every pixel, and nothing else."""

from __future__ import annotations

from collections.abc import Callable
from typing import cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from rangefinder.camera import Camera
from rangefinder.errors import ModelError
from rangefinder.location import Placement, location_map
from rangefinder.models.device import quickly
from rangefinder.models.io import TrainedModel
from rangefinder.models.layers import fused
from rangefinder.models.student import Student, full_frame

Maps = NDArray[np.float32]
FastRanger = Callable[[Tensor, Placement], Maps]


def fast_ranger(
    model: TrainedModel,
    camera: Camera,
    level: float | None = None,
    device: str | torch.device = "cpu",
) -> FastRanger:
    """Function from a photo `[3, H, W]` and its placement to distances of every pixel.

    The numbers are those of `deploy.measure`. Decoding happens on the student's cells, and only
    what is asked for is brought to the pixels.

    Args:
        model: A student.
        camera: The camera of the photos.
        level: Also give the central interval of this probability.
        device: Where the network runs.

    Returns:
        A function whose result is `[1, H, W]` distance [m]; with `level` `[3, H, W]`: distance,
        near end and far end.

    Raises:
        CameraMismatchError: If the model belongs to another camera.
        ModelError: If it is no student.
    """
    camera.require(model.card.camera_fingerprint, f"the {model.card.kind}")
    if model.card.kind != "student":
        raise ModelError("only a student is fast", got=model.card.kind, expected="student")
    network, prediction = fused(cast("Student", model.network)).to(device), model.prediction
    tail = model.tail(level) if level is not None else None

    @torch.inference_mode()
    def measure(image: Tensor, placement: Placement) -> Maps:
        height, width = image.shape[1:]
        location = torch.from_numpy(location_map(camera, placement, height, width)).to(device)
        with quickly(device):
            logits = network(image[None].to(device), location[None])
        probs = model.read(torch.softmax(logits[0].movedim(0, -1).float(), dim=-1))
        cells = prediction.estimate_dpt(probs)[None]
        if tail is not None:
            cells = torch.cat([cells, prediction.quantile_dpt(probs, (1 - tail, tail))])
        maps: Maps = full_frame(cells, height, width).reciprocal_().cpu().numpy()
        return maps

    return measure
