"""Where networks run: which device, how many threads."""

from __future__ import annotations

import os

import torch

from rangefinder.config import ComputeParams


def use_gpu(compute: ComputeParams) -> bool:
    """Whether to run on a GPU: as asked, or where there is one."""
    return compute.device == "cuda" or (compute.device == "auto" and torch.cuda.is_available())


def configure_threads(compute: ComputeParams) -> None:
    """Let torch use the threads asked for (0: every core that this process may use)."""
    torch.set_num_threads(compute.threads or _cores())


def _cores() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
