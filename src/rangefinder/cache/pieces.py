"""Work in progress: what the teacher said of single captures, until the cache is put together."""

from __future__ import annotations

import contextlib
import shutil
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from rangefinder.cache.files import checksum


class Pieces:
    """Packed predictions of single captures, one file each.

    A file's name bears the checksum of its content, and files are renamed into place, so a process
    may be killed at any moment: a file is found whole or not taken. They are not forced onto the
    disk one by one, for after a power cut the checksum tells as well.

    Args:
        folder: Where they lie; made when needed.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        for leftover in folder.glob("*.partial"):
            leftover.unlink()
        self._files = {_owner(path): path for path in sorted(folder.glob("*.piece"))}

    def add(self, capture_id: str, content: str, data: NDArray[np.uint8]) -> None:
        """Keep the predictions of a capture."""
        path = self.folder / f"{capture_id}-{content}-{checksum(data)}.piece"
        partial = path.with_suffix(".partial")
        partial.write_bytes(data.tobytes())
        partial.replace(path)
        self._files[capture_id, content] = path

    def get(self, capture_id: str, content: str) -> NDArray[np.uint8] | None:
        """The predictions of a capture, or None if there are none that are whole."""
        path = self._files.get((capture_id, content))
        if path is None:
            return None
        try:
            data = np.fromfile(path, dtype=np.uint8)
        except FileNotFoundError:  # somebody cleaned up meanwhile
            return None
        return data if checksum(data) == path.stem.rpartition("-")[2] else None

    def drop(self) -> None:
        """Remove all."""
        shutil.rmtree(self.folder)
        self._files.clear()
        with contextlib.suppress(OSError):  # another teacher's work lies there
            self.folder.parent.rmdir()


def _owner(path: Path) -> tuple[str, str]:
    capture_id, content, _ = path.stem.split("-")
    return capture_id, content
