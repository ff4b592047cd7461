"""Where a camera's point spread functions come from: traced, measured, or a thin lens's."""

from __future__ import annotations

import hashlib
from pathlib import Path

from rangefinder.camera import Camera
from rangefinder.config import CameraParams
from rangefinder.errors import LensError


def camera_record(params: CameraParams, home: Path) -> Camera:
    """The record of a camera, with the hash of what its lens file holds.

    Args:
        params: The camera's parameters.
        home: Folder that `lens.file` starts from.

    Raises:
        LensError: If the lens file is missing.
    """
    if params.lens.file is None or params.lens.kind not in ("zemax", "measured"):
        return Camera.from_params(params)
    lens = params.lens.model_copy(update={"sha256": _digest(home / params.lens.file)})
    return Camera.from_params(params.model_copy(update={"lens": lens}))


def _digest(path: Path) -> str:
    """Hash of a file, or of all files of a folder and their names."""
    digest = hashlib.sha256()
    try:
        files = sorted(path.iterdir()) if path.is_dir() else [path]
        for file in files:
            if file.is_file():
                digest.update(file.name.encode() if path.is_dir() else b"")
                digest.update(file.read_bytes())
    except OSError as exc:
        raise LensError(
            f"camera.lens.file cannot be read ({exc})", todo="Name it from the project's folder."
        ) from exc
    return digest.hexdigest()[:16]
