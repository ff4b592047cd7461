"""Worker processes that render or train in parallel, in order, with bounded memory."""

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
from typing import TypeVar

import torch
from tqdm import tqdm

from rangefinder.errors import WorkerError

Item = TypeVar("Item")
Result = TypeVar("Result")
AHEAD = 2  # tasks under way per worker
TORCHS_WORKER = "DataLoader worker"  # in what torch says of one that died


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

    They are killed at once when the body raises, Ctrl-C included.

    Args:
        workers: How many.
        parameter: What sets their number, for the error.

    Raises:
        WorkerError: If a worker is killed.
    """
    others = set(active_children())
    pool = ProcessPoolExecutor(workers, mp_context=get_context("spawn"), initializer=_start_worker)
    with deaths_explained(workers, parameter):
        try:
            yield pool
        except BaseException:
            for process in set(active_children()) - others:
                process.kill()
            raise
        finally:
            pool.shutdown(wait=True, cancel_futures=True)


@contextmanager
def deaths_explained(workers: int, parameter: str) -> Iterator[None]:
    """Say what to do when one of so many workers, of a pool or of torch's loaders, is killed.

    Torch tells of it wherever the main thread happens to be, so others may have wrapped its words.

    Args:
        workers: How many there are.
        parameter: What sets their number.

    Raises:
        WorkerError: If a worker is killed.
    """
    try:
        yield
    except Exception as exc:
        if not isinstance(exc, BrokenProcessPool) and TORCHS_WORKER not in str(exc):
            raise
        raise WorkerError(
            "a worker process died",
            got=f"{workers} workers",
            todo=f"Usually memory ran out: set {parameter} lower.",
        ) from exc


def _start_worker() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to handle
    threading.Thread(target=_end_with_parent, daemon=True).start()
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
    """Results of `function` over `items` in order; at most a few per worker wait in memory."""
    remaining = iter(items)
    waiting: deque[Future[Result]] = deque(
        pool.submit(function, item) for item in itertools.islice(remaining, AHEAD * workers)
    )
    while waiting:
        result = waiting.popleft().result()
        waiting.extend(pool.submit(function, item) for item in itertools.islice(remaining, 1))
        yield result
