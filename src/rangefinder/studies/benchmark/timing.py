"""Memory, threads and arithmetic of a piece of work in torch."""

from __future__ import annotations

import contextlib
import gc
from collections.abc import Callable, Iterator
from typing import Any

import psutil
import torch
from torch.utils.flop_counter import FlopCounterMode

from rangefinder.common.timing import peak_memory_bytes, reset_peak_memory
from rangefinder.models.device import return_memory


def peak_bytes(work: Callable[[], Any]) -> int | None:
    """Memory that `work` needs beyond what is held before it [bytes].

    On a GPU its memory; else growth of the process's resident set, where the system reports it.
    """
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.reset_peak_memory_stats()
        held = torch.cuda.memory_allocated()
        work()
        return int(torch.cuda.max_memory_allocated() - held)
    return_memory()  # or the peak would hide in what is free
    if not reset_peak_memory():
        return None
    held = psutil.Process().memory_info().rss
    work()
    return max(0, peak_memory_bytes() - held)


@contextlib.contextmanager
def threads(count: int) -> Iterator[None]:
    """Run torch on `count` CPU threads."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def multiply_adds(work: Callable[[], Any]) -> int:
    """Multiply-adds of the matrix products and convolutions in one call of `work`."""
    with FlopCounterMode(display=False) as counter:
        work()
    return int(counter.get_total_flops()) // 2


def matrix_product(side: int) -> Callable[[], None]:
    """A float32 matrix product of `side`^3 multiply-adds, ready to be timed."""
    device = "cuda" if torch.cuda.is_available() else "cpu"
    left, right = torch.rand(2, side, side, device=device)

    def product() -> None:
        with torch.inference_mode():
            (left @ right)[0, 0].item()  # reading a number waits for the GPU

    return product
