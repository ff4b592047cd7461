"""Files that are either whole or not there, and folders that one process at a time fills."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

log = logging.getLogger(__name__)


def write_whole(path: Path, write: Callable[[Path], object]) -> Path:
    """Write a file so that nobody ever meets half of it.

    Args:
        path: The file; its folder is made.
        write: Writes to the path that it is given, which lies in the same folder.

    Returns:
        The file.

    Raises:
        OSError: If the disk is full or the folder cannot be written; nothing is left behind then.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        write(partial)
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)
    return path


@contextmanager
def only_one(folder: Path) -> Iterator[None]:
    """Hold the lock of `folder`, waiting for whoever holds it now; it dies with its process."""
    path = folder.with_name(f"{folder.name}.lock")
    path.parent.mkdir(parents=True, exist_ok=True)
    lock = FileLock(path)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        log.warning("Another process is making %s: waiting until it is done", folder)
        lock.acquire()
    try:
        yield
    finally:
        lock.release()
