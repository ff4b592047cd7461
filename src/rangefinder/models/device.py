"""Where networks run: which device, how many threads, how precisely."""

from __future__ import annotations

import ctypes
import os

import torch

from rangefinder.config import ComputeParams
from rangefinder.errors import ConfigError

_BFLOAT16 = ("avx512_bf16", "amx_bf16")  # instructions that multiply it
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3  # see mallopt(3)
_LARGEST_KEPT, _KEPT = 2**25, 2**28  # bytes of one block, the most there is; of all


def torch_device(name: str) -> torch.device:
    """The device of that name; `auto` takes a GPU where there is one.

    Raises:
        ConfigError: If there is none.
    """
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    if name == "cuda" and not torch.cuda.is_available():
        raise ConfigError("there is no CUDA device", got=name, expected="auto or cpu")
    return torch.device(name)


def training_dtype(compute: ComputeParams) -> torch.dtype:
    """What convolutions multiply in training; `auto` takes bfloat16 where a CPU is made for it.

    A GPU multiplies float32 quickly enough by its TensorFloat-32.
    """
    if compute.precision != "auto":
        return torch.bfloat16 if compute.precision == "bfloat16" else torch.float32
    return _quick_dtype(torch_device(compute.device))


def quickly(device: torch.device | str) -> torch.autocast:
    """A context in which convolutions multiply bfloat16 where a CPU is made for it.

    For students: the teacher's exact sweep stays in float32.
    """
    device = torch.device(device)
    return multiplying(_quick_dtype(device), device.type)


def multiplying(dtype: torch.dtype, device_type: str) -> torch.autocast:
    """A context in which convolutions multiply this type."""
    return torch.autocast(device_type, dtype, enabled=dtype != torch.float32)


def _quick_dtype(device: torch.device) -> torch.dtype:
    able = torch.cpu.get_capabilities()
    quick = device.type == "cpu" and any(able.get(name, False) for name in _BFLOAT16)
    return torch.bfloat16 if quick else torch.float32


def configure_cpu(compute: ComputeParams) -> None:
    """Let torch use the threads asked for (0: every core that this process may use).

    And let the process keep freed memory for what comes next: every layer of a photo takes some
    megabytes, and fetching them anew from the system costs a student a third of its time.
    """
    torch.set_num_threads(_threads(compute))
    try:
        mallopt = ctypes.CDLL("libc.so.6").mallopt
    except (OSError, AttributeError):
        return  # not glibc
    mallopt(_M_MMAP_THRESHOLD, _LARGEST_KEPT)
    mallopt(_M_TRIM_THRESHOLD, _KEPT)


def shared(compute: ComputeParams, processes: int) -> ComputeParams:
    """What one of so many processes side by side may use: its share of threads and workers."""
    threads = max(1, _threads(compute) // processes)
    return compute.model_copy(update={"threads": threads, "workers": compute.workers // processes})


def beside_workers(compute: ComputeParams) -> ComputeParams:
    """The threads that workers leave: where there are more than cores, all wait for each other."""
    threads = max(1, _threads(compute) - compute.workers)
    return compute.model_copy(update={"threads": threads})


def _threads(compute: ComputeParams) -> int:
    if compute.threads:
        return compute.threads
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
