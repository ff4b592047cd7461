"""How much arithmetic something is, and what a machine does best."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch.utils.flop_counter import FlopCounterMode


def multiply_adds(work: Callable[[], Any]) -> int:
    """Multiply-adds of the matrix products and convolutions in one call of `work`."""
    with FlopCounterMode(display=False) as counter:
        work()
    return int(counter.get_total_flops()) // 2


def matrix_product(side: int) -> Callable[[], None]:
    """A large float32 matrix product, `side`^3 multiply-adds, ready to be timed.

    Args:
        side: Rows and columns of the matrices.
    """
    device = "cuda" if torch.cuda.is_available() else "cpu"
    left, right = torch.rand(2, side, side, device=device)

    def product() -> None:
        with torch.inference_mode():
            (left @ right)[0, 0].item()  # a GPU is done when the number is here

    return product
