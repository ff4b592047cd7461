"""Measuring: a trained model and a photo -> distance, intervals and uncertainty of every pixel."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor, nn

from rangefinder.cache.sweep import Sweep
from rangefinder.camera import Camera
from rangefinder.captures.images import resize_sharp
from rangefinder.config import CacheParams, ComputeParams
from rangefinder.evaluation.metrics import LEVELS, Float, Ranging
from rangefinder.location import PatchGrid, Placement, location_map
from rangefinder.models.device import quickly, torch_device
from rangefinder.models.io import TrainedModel
from rangefinder.models.lattice import Lattice, resample
from rangefinder.models.layers import fused
from rangefinder.models.student import Student

LEVEL = 0.8  # of the intervals that are reported
CONFIDENT_WITHIN = 0.1  # confidence: the probability that the truth is this near, relative
Ranger = Callable[[Tensor, Placement], Ranging]
Distributions = Callable[[Tensor, Placement], tuple[Tensor, Lattice]]


@dataclass(frozen=True)
class Measurement:
    """What a model says about one photo, on the pixels of the photo.

    Attributes:
        ranging: Distance, intervals and deviation.
        confidence: `[H, W]` probability that the truth is within 10 % of the distance.
    """

    ranging: Ranging
    confidence: Float


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
    measure = meter(model, params)
    return lambda image, placement: measure(image, placement).ranging


def meter(
    model: TrainedModel, params: CacheParams | None = None, device: str = "cpu"
) -> Callable[[Tensor, Placement], Measurement]:
    """Function from a photo `[3, H, W]` and its placement to a `Measurement`.

    Blur is learned in pixels of the stored image, so a photo of another scale is first brought to
    that of the camera record.

    Args:
        model: Teacher or student.
        params: How a teacher sweeps.
        device: `auto`, `cpu` or `cuda`.

    Raises:
        ConfigError: If there is no such device.
    """
    answer = _distributions(model, params or CacheParams(), torch_device(device))

    def measure(image: Tensor, placement: Placement) -> Measurement:
        height, width = image.shape[1:]
        y, x = torch.arange(height) + 0.5, torch.arange(width) + 0.5
        if placement.scale != 1.0:
            size = round(height * placement.scale), round(width * placement.scale)
            image, placement = resize_sharp(image, *size), Placement(placement.origin_px)
            y, x = y * (size[0] / height), x * (size[1] / width)
        probs, lattice = answer(image, placement)
        return _to_pixels(model, probs, lattice, y, x)

    return measure


class _On(nn.Module):
    """A network on a device, for inputs and outputs in main memory."""

    def __init__(self, network: nn.Module, device: torch.device) -> None:
        super().__init__()
        self.network, self.device = fused(network).to(device), device

    def forward(self, image: Tensor, location: Tensor) -> Tensor:
        """Logits `[N, bins, rows, cols]` of `[N, 3, H, W]` and their places on the sensor."""
        batch = image.to(self.device, memory_format=torch.channels_last)
        with quickly(self.device):
            return cast("Tensor", self.network(batch, location.to(self.device)).cpu())


def _distributions(model: TrainedModel, params: CacheParams, device: torch.device) -> Distributions:
    """Function from a photo to probabilities `[rows, cols, bins]` and their lattice."""
    card = model.card
    if card.kind == "teacher":
        grid, compute = (card.patch_px, card.stride_px), ComputeParams(device=device.type)
        sweep = Sweep(model.network, card.camera, params, *grid, compute)
        lattice = Lattice(card.patch_px / 2, card.stride_px)
        return lambda image, placement: (sweep(image, placement), lattice)
    network = _On(model.network, device)

    @torch.inference_mode()
    def whole(image: Tensor, placement: Placement) -> tuple[Tensor, Lattice]:
        height, width = image.shape[1:]
        PatchGrid(height, width, card.patch_px, card.stride_px)  # refuses what is too small
        location = torch.from_numpy(location_map(card.camera, placement, height, width))
        logits = network(image[None], location[None])[0].movedim(0, -1).float()
        return torch.softmax(logits, dim=-1), Student.lattice

    return whole


def _to_pixels(
    model: TrainedModel, probs: Tensor, lattice: Lattice, y_px: Tensor, x_px: Tensor
) -> Measurement:
    """Decode on the lattice, then interpolate in dioptres to every pixel."""
    tails = [model.tail(level) for level in LEVELS]
    prediction, probs = model.prediction, model.read(probs)
    estimate = prediction.estimate_dpt(probs)
    low_dpt, high_dpt = estimate / (1 + CONFIDENT_WITHIN), estimate / (1 - CONFIDENT_WITHIN)
    decoded = torch.cat(
        [
            estimate[None],
            prediction.quantile_dpt(probs, (*tails, *(1 - tail for tail in tails))),
            prediction.sd_dpt(probs)[None],
            prediction.probability_between(probs, low_dpt, high_dpt)[None],
        ]
    )
    maps = resample(decoded[None], lattice, y_px, x_px)[0].numpy()
    count = len(LEVELS)
    low, high = maps[1 : 1 + count], maps[1 + count : 1 + 2 * count]
    ranging = Ranging(
        distance_m=1 / maps[0],
        interval_m={level: (1 / high[i], 1 / low[i]) for i, level in enumerate(LEVELS)},
        sd_dpt=maps[-2],
    )
    return Measurement(ranging, maps[-1])
