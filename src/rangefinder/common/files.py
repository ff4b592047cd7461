"""Atomic and durable writes, checksums, samples of PNG files."""

from __future__ import annotations

import ctypes
import hashlib
import logging
import os
import shutil
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, TypeVar, cast

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_HERE, _EXCHANGE = -100, 2  # AT_FDCWD and RENAME_EXCHANGE, see renameat2(2)
Content = TypeVar("Content")
log = logging.getLogger(__name__)


def checksum(data: bytes | NDArray[np.uint8]) -> str:
    """SHA-256 of `data`, its first 16 hex digits."""
    return hashlib.sha256(data if isinstance(data, bytes) else data.data).hexdigest()[:16]


def png_samples(path: Path) -> NDArray[np.generic]:
    """Samples `[H, W]` or `[H, W, C]` of a PNG as stored; Pillow reduces 16-bit colours to 8."""
    import imagecodecs

    return cast("NDArray[np.generic]", imagecodecs.png_decode(path.read_bytes()))


def atomic_write(path: Path, write: Callable[[Path], object]) -> Path:
    """Write a file so that nobody ever reads half of it, also after the machine has stopped.

    Args:
        path: The file; its folder is made.
        write: Writes to a given path, which lies in the same folder.

    Returns:
        The file.

    Raises:
        OSError: If the disk is full or the folder cannot be written; nothing is left behind then.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}.partial")
    try:
        write(partial)
        _sync(partial)
        replace_durably(partial, path)
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


@contextmanager
def new_folder(folder: Path) -> Iterator[Path]:
    """A folder to fill, which takes the place of `folder` when the block ends without an error.

    Others see the former content or the new one, whole. Where the system cannot exchange two
    folders in one step, a process that is stopped between two steps leaves the former one aside,
    and `restore_folder` puts it back.
    """
    partial = folder.with_name(f".{folder.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    try:
        yield partial
        for path in (*partial.rglob("*"), partial):
            if path.is_file():
                _sync(path)
            else:
                sync_folder(path)
        _put(partial, folder)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _put(partial: Path, folder: Path) -> None:
    """Bring a finished folder to its place; what was there ends in `partial`, or is removed."""
    former = _former(folder)
    if folder.exists() and not _exchanged(partial, folder):
        shutil.rmtree(former, ignore_errors=True)
        folder.rename(former)
    if not folder.exists():
        partial.rename(folder)
    sync_folder(folder.parent)
    shutil.rmtree(former, ignore_errors=True)


def restore_folder(folder: Path) -> None:
    """Put a folder back that a stopped `new_folder` left aside."""
    if not folder.exists() and _former(folder).exists():
        _former(folder).rename(folder)
        log.warning("%s is as it was before its last writing, which did not end", folder)


def read_folder(folder: Path, read: Callable[[Path], Content]) -> Content:
    """What `read` makes of a folder; it reads once more if `new_folder` replaced it meanwhile."""
    while True:
        restore_folder(folder)
        before = _identity(folder)
        try:
            content = read(folder)
        except Exception:
            if _identity(folder) == before:
                raise
            continue
        if _identity(folder) == before:
            return content


def _identity(folder: Path) -> tuple[int, ...] | None:
    try:
        found = folder.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino, found.st_mtime_ns  # numbers of inodes are used again


def _former(folder: Path) -> Path:
    return folder.with_name(f".{folder.name}.previous")


def _exchanged(one: Path, other: Path) -> bool:
    """Exchange two folders in one step; False where the system or its disk cannot."""
    try:
        renameat2 = ctypes.CDLL("libc.so.6", use_errno=True).renameat2
    except (OSError, AttributeError):
        return False
    paths = os.fsencode(one), os.fsencode(other)
    return bool(renameat2(_HERE, paths[0], _HERE, paths[1], _EXCHANGE) == 0)


def sync_folder(folder: Path) -> None:
    """Bring renames in a folder to the disk (where folders can be synchronised at all)."""
    if os.name == "posix":
        _sync(folder)


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
