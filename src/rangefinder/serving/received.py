"""Photos that others send: kept as files for as long as they are measured."""

from __future__ import annotations

import re
import shutil
from pathlib import Path, PureWindowsPath
from typing import BinaryIO, cast

import numpy as np
from numpy.typing import NDArray

from rangefinder.errors import CaptureError, RangefinderError
from rangefinder.inference.session import Measurement, Point, Session

_UNSAFE = re.compile(r"[^\w.() -]")
_LONGEST_NAME = 100  # characters at the end of a file's name


def measure_received(
    session: Session,
    content: BinaryIO,
    name: str | None,
    folder: Path,
    origin_px: Point | None = None,
    scale: float | None = None,
) -> Measurement:
    """Measure a photo that was sent.

    Args:
        session: What measures it.
        content: A file as `measure` reads them, or an array of numpy (.npy).
        name: Of the file; its ending marks TIFF, camera raw and arrays.
        folder: An empty one of the photo's own, which the caller removes.
        origin_px: Upper left corner (x, y) of a crop on the full photo [px].
        scale: Pixels of the full photo per pixel of this one.

    Raises:
        CaptureError: If it cannot be measured, without this machine's paths.
    """
    path = folder / _file_name(name)
    with path.open("wb") as file:
        shutil.copyfileobj(content, file)
    try:
        photo = _array(path) if path.suffix.lower() == ".npy" else path
        return session.measure(photo, origin_px=origin_px, scale=scale)
    except RangefinderError as exc:
        what, found, expected, todo = (
            text.replace(f"{folder}/", "") for text in (exc.what, exc.found, exc.expected, exc.todo)
        )
        raise CaptureError(what, got=found or None, expected=expected or None, todo=todo) from exc


def _file_name(given: str | None) -> str:
    """A name for a file on this machine, like the sender's."""
    name = _UNSAFE.sub("_", PureWindowsPath(given or "").name)[-_LONGEST_NAME:].lstrip(". ")
    return name or "photo"


def _array(path: Path) -> NDArray[np.generic]:
    try:
        found = np.load(path, mmap_mode="r", allow_pickle=False)  # takes no memory by its header
    except (OSError, ValueError, EOFError, SyntaxError) as exc:
        raise CaptureError(f"{path.name} is no array of numpy ({exc})") from exc
    return cast("NDArray[np.generic]", found)
