"""Where networks run: device, threads, precision."""

from __future__ import annotations

import ctypes
from contextlib import suppress
from typing import get_args

import torch

from rangefinder.common.compute import usable_cores
from rangefinder.config import ComputeParams, Device
from rangefinder.errors import ConfigError

_BFLOAT16 = ("avx512_bf16", "amx_bf16")  # CPU instructions
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3  # see mallopt(3)
_LARGEST_KEPT, _KEPT = 2**25, 2**28  # bytes of one block, the most there is; of all


def torch_device(name: str) -> torch.device:
    """The device of that name; `auto` takes a GPU where there is one.

    Raises:
        ConfigError: If there is none.
    """
    if name not in get_args(Device):
        raise ConfigError("there is no such device", got=name, expected=", ".join(get_args(Device)))
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    if name == "cuda" and not torch.cuda.is_available():
        raise ConfigError("there is no CUDA device", got=name, expected="auto or cpu")
    return torch.device(name)


def training_dtype(compute: ComputeParams) -> torch.dtype:
    """Type of convolutions in training; `auto`: bfloat16 where the CPU has instructions for it.

    On a GPU float32 is fast enough as TensorFloat-32.
    """
    if compute.precision != "auto":
        return torch.bfloat16 if compute.precision == "bfloat16" else torch.float32
    return _fast_dtype(torch_device(compute.device))


def inference_autocast(device: torch.device | str) -> torch.autocast:
    """Autocast of students: bfloat16 where the CPU has it. The exact sweep stays in float32."""
    device = torch.device(device)
    return autocast_to(_fast_dtype(device), device.type)


def autocast_to(dtype: torch.dtype, device_type: str) -> torch.autocast:
    """Autocast of convolutions to this type."""
    return torch.autocast(device_type, dtype, enabled=dtype != torch.float32)


def _fast_dtype(device: torch.device) -> torch.dtype:
    able = torch.cpu.get_capabilities()
    has_bfloat16 = device.type == "cpu" and any(able.get(name, False) for name in _BFLOAT16)
    return torch.bfloat16 if has_bfloat16 else torch.float32


def configure_cpu(compute: ComputeParams) -> None:
    """Set torch's threads (0: every core that this process may use), and keep freed memory.

    Every layer of a photo takes some megabytes; allocating them anew from the system costs a third
    of a student's time.
    """
    torch.set_num_threads(_threads(compute))
    with suppress(OSError, AttributeError):  # not glibc
        mallopt = ctypes.CDLL("libc.so.6").mallopt
        mallopt(_M_MMAP_THRESHOLD, _LARGEST_KEPT)
        mallopt(_M_TRIM_THRESHOLD, _KEPT)


def free_bytes(device: torch.device) -> int:
    """Memory that is free where networks run [byte]."""
    if device.type == "cuda":
        return int(torch.cuda.mem_get_info(device)[0])
    import psutil  # registered models measure without it

    return int(psutil.virtual_memory().available)


def return_memory() -> None:
    """Give memory that is kept, but free, back to the system."""
    with suppress(OSError, AttributeError):
        ctypes.CDLL("libc.so.6").malloc_trim(0)


def share_of_compute(compute: ComputeParams, processes: int) -> ComputeParams:
    """The share of threads and workers of one of so many parallel processes."""
    threads = max(1, _threads(compute) // processes)
    return compute.model_copy(update={"threads": threads, "workers": compute.workers // processes})


def threads_beside_workers(compute: ComputeParams) -> ComputeParams:
    """Threads left beside data-loader workers: more than cores in all would slow each other."""
    threads = max(1, _threads(compute) - compute.workers)
    return compute.model_copy(update={"threads": threads})


def _threads(compute: ComputeParams) -> int:
    return compute.threads or usable_cores()
