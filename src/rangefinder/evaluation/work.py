"""How much arithmetic something is, and how fast this machine could do it at best."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch.utils.flop_counter import FlopCounterMode

from rangefinder.evaluation.timing import Effort, clock


def multiply_adds(work: Callable[[], Any]) -> int:
    """Multiply-adds of the matrix products and convolutions in one call of `work`."""
    with FlopCounterMode(display=False) as counter:
        work()
    return int(counter.get_total_flops()) // 2


def matmul_rate(side: int, effort: Effort) -> float:
    """Multiply-adds per second of a large float32 matrix product on the threads in use.

    Args:
        side: Rows and columns of the matrices.
        effort: How often to repeat.
    """
    device = "cuda" if torch.cuda.is_available() else "cpu"
    left, right = torch.rand(2, side, side, device=device)

    def product() -> None:
        (left @ right)[0, 0].item()  # a GPU is done when the number is here

    with torch.inference_mode():
        return side**3 / clock(product, effort).seconds
