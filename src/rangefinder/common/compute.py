"""Worker processes with bounded memory, single-threaded torch, and compiled loops."""

from __future__ import annotations

import itertools
import os
import signal
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from multiprocessing import active_children, get_context, parent_process
from typing import Any, TypeVar, cast

import torch

from rangefinder.errors import WorkerError

Item = TypeVar("Item")
Result = TypeVar("Result")
Function = TypeVar("Function", bound=Callable[..., Any])
TASKS_EACH = 2  # under way per worker
DATALOADER_WORKER = "DataLoader worker"  # in the message of torch when one dies


def usable_cores() -> int:
    """Cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


@contextmanager
def one_thread() -> Iterator[None]:
    """Run torch on one thread without denormal numbers: fastest here, and the same everywhere."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    torch.set_flush_denormal(True)
    try:
        yield
    finally:
        torch.set_num_threads(threads)
        torch.set_flush_denormal(False)


@contextmanager
def worker_pool(workers: int, parameter: str) -> Iterator[ProcessPoolExecutor]:
    """Fresh processes (spawned, so that no lock or thread is inherited) that end with this one.

    They are killed at once when the body raises, on Ctrl-C too.

    Args:
        workers: Number of processes.
        parameter: Name of the parameter that sets it, for the error.

    Raises:
        WorkerError: If a worker is killed.
    """
    others = set(active_children())
    pool = ProcessPoolExecutor(workers, mp_context=get_context("spawn"), initializer=_start_worker)
    with explain_worker_death(workers, parameter):
        try:
            yield pool
        except BaseException:
            for process in set(active_children()) - others:
                process.kill()
            raise
        finally:
            pool.shutdown(wait=True, cancel_futures=True)


@contextmanager
def explain_worker_death(workers: int, parameter: str) -> Iterator[None]:
    """Turn the error of a killed worker, of a pool or of torch's loaders, into a clear one.

    Torch raises wherever the main thread happens to be, so its error may have been wrapped.

    Args:
        workers: Number of processes.
        parameter: Name of the parameter that sets it.

    Raises:
        WorkerError: If a worker is killed.
    """
    try:
        yield
    except Exception as exc:
        if not isinstance(exc, BrokenProcessPool) and DATALOADER_WORKER not in str(exc):
            raise
        raise WorkerError(
            "a worker process died",
            got=f"{workers} workers",
            todo=f"Usually memory ran out: set {parameter} lower.",
        ) from exc


def _start_worker() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to handle
    threading.Thread(target=_end_with_parent, daemon=True).start()
    from tqdm import tqdm

    tqdm.set_lock(threading.RLock())  # its own is shared among processes, and left behind by a kill
    torch.set_num_threads(1)
    torch.set_flush_denormal(True)


def _end_with_parent() -> None:
    parent = parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def ordered_map(
    pool: ProcessPoolExecutor,
    function: Callable[[Item], Result],
    items: Iterable[Item],
    workers: int,
) -> Iterator[Result]:
    """Results of `function` over `items`, in order; a few per worker wait in memory at most."""
    remaining = iter(items)
    waiting: deque[Future[Result]] = deque(
        pool.submit(function, item) for item in itertools.islice(remaining, TASKS_EACH * workers)
    )
    while waiting:
        result = waiting.popleft().result()
        waiting.extend(pool.submit(function, item) for item in itertools.islice(remaining, 1))
        yield result


def compiled(function: Function) -> Function:
    """Compile a loop over arrays with numba; threads may run it side by side.

    The machine code is kept beside the source file or in the user's cache folder; where neither can
    be written, each process compiles again (seconds).

    Args:
        function: Loop over arrays and numbers that calls only NumPy, `math` and compiled functions.

    Returns:
        The same function, compiled on first use.
    """
    import numba

    options: dict[str, Any] = {"nogil": True, "error_model": "numpy", "fastmath": {"contract"}}
    try:
        return cast(Function, numba.njit(cache=True, **options)(function))
    except RuntimeError:  # numba: no folder for its cache
        return cast(Function, numba.njit(**options)(function))
