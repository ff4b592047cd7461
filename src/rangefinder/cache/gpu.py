"""On a GPU: bfloat16 and compilation, where they are faster and near enough to float32."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import TypeVar

import torch
from torch import Tensor, nn

Forward = Callable[[Tensor, Tensor], Tensor]
Way = TypeVar("Way")
GAIN = 1.2  # times faster; less is noise, and the choice should be the same every time


def float32(network: nn.Module) -> Forward:
    """The network in true float32, as the check of dense passes asks (no TensorFloat-32)."""

    def forward(images: Tensor, location: Tensor) -> Tensor:
        with torch.backends.cudnn.flags(enabled=True, allow_tf32=False):
            return network(images, location)  # type: ignore[no-any-return]

    return forward


def bfloat16(network: nn.Module) -> Forward:
    """The network under automatic mixed precision."""

    def forward(images: Tensor, location: Tensor) -> Tensor:
        with torch.autocast(images.device.type, torch.bfloat16):
            return network(images, location)  # type: ignore[no-any-return]

    return forward


def ways_on_gpu(network: nn.Module) -> list[Forward]:
    """Ways to run a network, the exact one first."""
    low = bfloat16(network)
    return [float32(network), low, torch.compile(low, dynamic=True)]


def fastest(ways: Sequence[Way], trial: Callable[[Way], Tensor], tolerance: float) -> Way:
    """The fastest way whose answers stay near those of the first.

    Args:
        ways: Ways to run a network, the exact one first.
        trial: Answers on a sample by one way.
        tolerance: Largest difference allowed.

    Returns:
        One of the ways; the first where no other is near enough and clearly faster.
    """
    best, *others = ways
    wanted, best_s = trial(best), _seconds(trial, best)
    for way in others:
        if float((trial(way) - wanted).abs().max()) > tolerance:
            continue
        seconds = _seconds(trial, way)
        if seconds * GAIN < best_s:
            best, best_s = way, seconds
    return best


def _seconds(trial: Callable[[Way], Tensor], way: Way, repeats: int = 5) -> float:
    """Shortest time of a few runs [s]; answers are on the CPU when a trial is over."""
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        trial(way)
        times.append(time.perf_counter() - start)
    return min(times)
