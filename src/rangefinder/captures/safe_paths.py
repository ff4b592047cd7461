"""Paths that a table names: inside the table's folder, whatever they pretend to be."""

from __future__ import annotations

import unicodedata
from pathlib import Path, PurePosixPath, PureWindowsPath

from rangefinder.errors import CaptureError

MOVE_IT = "Copy the file into the table's folder and name it from there."


def inside(folder: Path, name: str) -> Path:
    r"""The file that a table means by `name`.

    Args:
        folder: Folder of the table.
        name: What the table says; `/` or `\\` between folders.

    Returns:
        The path of a file that exists.

    Raises:
        CaptureError: If the name is absolute, leads out of the folder (also by a symbolic link),
            or there is no such file.
    """
    parts = PurePosixPath(name.replace("\\", "/"))
    if parts.is_absolute() or PureWindowsPath(name).drive or "\0" in name:
        raise CaptureError(
            "a path is not relative to the table's folder", got=repr(name), todo=MOVE_IT
        )
    if ".." in parts.parts:
        raise CaptureError("a path leads out of the table's folder", got=repr(name), todo=MOVE_IT)
    path = _spelled(folder, parts)
    try:
        is_inside = path.resolve().is_relative_to(folder.resolve())
    except (OSError, RuntimeError) as exc:  # a link that leads to itself
        raise CaptureError(f"{name} cannot be followed ({exc})", todo=MOVE_IT) from exc
    if not is_inside:
        raise CaptureError(
            "a symbolic link leads out of the table's folder", got=repr(name), todo=MOVE_IT
        )
    if path.is_dir():
        raise CaptureError("a folder stands where a file should", got=repr(name))
    if not path.is_file():
        raise CaptureError(
            "a file is missing",
            got=f"no {name!r} in {folder}",
            todo="Restore it or take its row out.",
        )
    return path


def _spelled(folder: Path, parts: PurePosixPath) -> Path:
    """The path as the file system spells it: some compose accented letters, some don't."""
    plain = folder / parts
    for form in ("NFC", "NFD"):
        other = folder / unicodedata.normalize(form, str(parts))
        if not plain.exists() and other.exists():
            return other
    return plain
