"""Atomic and durable writes, checksums, the exclusive lock of a folder, samples of PNG files."""

from __future__ import annotations

import hashlib
import logging
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, cast

from filelock import FileLock, Timeout

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

log = logging.getLogger(__name__)


def checksum(data: bytes | NDArray[np.uint8]) -> str:
    """SHA-256 of `data`, its first 16 hex digits."""
    return hashlib.sha256(data if isinstance(data, bytes) else data.data).hexdigest()[:16]


def png_samples(path: Path) -> NDArray[np.generic]:
    """Samples `[H, W]` or `[H, W, C]` of a PNG as stored; Pillow reduces 16-bit colours to 8."""
    import imagecodecs

    return cast("NDArray[np.generic]", imagecodecs.png_decode(path.read_bytes()))


def atomic_write(path: Path, write: Callable[[Path], object]) -> Path:
    """Write a file so that no process ever reads half of it.

    Args:
        path: The file; its folder is made.
        write: Writes to a given path, which lies in the same folder.

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
def durable_file(path: Path) -> Iterator[BinaryIO]:
    """A new file whose content has reached the disk (fsync) when the block ends."""
    with path.open("wb") as file:
        yield file
        file.flush()
        os.fsync(file.fileno())


def replace_durably(partial: Path, path: Path) -> None:
    """Rename a finished file into place; other processes read the old one or the new one."""
    partial.replace(path)
    sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """Bring renames in a folder to the disk (where folders can be synchronised at all)."""
    if os.name != "posix":
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


@contextmanager
def exclusive_lock(folder: Path) -> Iterator[None]:
    """Hold the lock of `folder`, after waiting for the process that holds it now."""
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
