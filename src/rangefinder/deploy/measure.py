"""Measuring: a trained model and a photo -> distance, intervals and uncertainty of every pixel."""

from __future__ import annotations

from collections.abc import Callable
from typing import cast

import torch
from torch import Tensor

from rangefinder.cache.sweep import Sweep
from rangefinder.camera import Camera
from rangefinder.config import CacheParams
from rangefinder.evaluation.metrics import LEVELS, Ranging
from rangefinder.location import PatchGrid, Placement, location_map
from rangefinder.models.io import TrainedModel
from rangefinder.models.lattice import Lattice, resample
from rangefinder.models.layers import fused
from rangefinder.models.student import Student

Ranger = Callable[[Tensor, Placement], Ranging]


def ranger(model: TrainedModel, camera: Camera, params: CacheParams) -> Ranger:
    """Function from a photo `[3, H, W]` and its placement to a `Ranging` of every pixel.

    Args:
        model: Teacher or student.
        camera: The camera of the photos.
        params: How a teacher sweeps.

    Raises:
        CameraMismatchError: If the model belongs to another camera.
    """
    camera.require(model.card.camera_fingerprint, f"the {model.card.kind}")
    if model.card.kind == "teacher":
        return _teacher_ranger(model, camera, params)
    return _student_ranger(model, camera)


def _teacher_ranger(model: TrainedModel, camera: Camera, params: CacheParams) -> Ranger:
    card = model.card
    sweep = Sweep(model.network, camera, params, card.patch_px, card.stride_px)

    def measure(image: Tensor, placement: Placement) -> Ranging:
        probs = sweep(image, placement)
        lattice = Lattice(card.patch_px / 2, card.stride_px)
        return _to_pixels(model, probs, lattice, sweep.grid(image))

    return measure


def _student_ranger(model: TrainedModel, camera: Camera) -> Ranger:
    network, card = fused(cast("Student", model.network)), model.card

    @torch.inference_mode()
    def measure(image: Tensor, placement: Placement) -> Ranging:
        height, width = image.shape[1:]
        location = torch.from_numpy(location_map(camera, placement, height, width))
        batch = image[None].contiguous(memory_format=torch.channels_last)
        probs = torch.softmax(network(batch, location[None])[0].movedim(0, -1).float(), dim=-1)
        grid = PatchGrid(height, width, card.patch_px, card.stride_px)
        return _to_pixels(model, probs, Student.lattice, grid)

    return measure


def _to_pixels(model: TrainedModel, probs: Tensor, lattice: Lattice, grid: PatchGrid) -> Ranging:
    """Decode on the lattice, then interpolate in dioptres to every pixel."""
    tails = [(1 - level) / 2 for level in LEVELS]
    prediction = model.prediction
    decoded = torch.cat(
        [
            prediction.estimate_dpt(probs)[None],
            prediction.quantile_dpt(probs, (*tails, *(1 - tail for tail in tails))),
            prediction.sd_dpt(probs)[None],
        ]
    )
    y, x = torch.arange(grid.height_px) + 0.5, torch.arange(grid.width_px) + 0.5
    maps = resample(decoded[None], lattice, y, x)[0].numpy()
    count = len(LEVELS)
    low, high = maps[1 : 1 + count], maps[1 + count : 1 + 2 * count]
    return Ranging(
        distance_m=1 / maps[0],
        interval_m={level: (1 / high[i], 1 / low[i]) for i, level in enumerate(LEVELS)},
        sd_dpt=maps[-1],
    )
