"""Files that are either whole or not there, and checksums that tell what is in them."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

Packed = NDArray[np.uint8]


def checksum(data: bytes | Packed) -> str:
    """SHA-256 of `data`, its first 16 hex digits."""
    plain = data if isinstance(data, bytes) else data.data
    return hashlib.sha256(plain).hexdigest()[:16]


@contextmanager
def durable(path: Path) -> Iterator[BinaryIO]:
    """A new file whose content has reached the disk when the block ends."""
    with path.open("wb") as file:
        yield file
        file.flush()
        os.fsync(file.fileno())


def install(partial: Path, path: Path) -> None:
    """Put a finished file in its place; other processes see the old one or the new one."""
    partial.replace(path)
    sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """Let renames in a folder reach the disk (where folders can be synchronised at all)."""
    if os.name != "posix":
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
