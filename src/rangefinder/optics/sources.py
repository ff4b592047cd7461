"""Where a camera's point spread functions come from: traced, measured, or a thin lens's."""

from __future__ import annotations

import hashlib
import logging
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from rangefinder.camera import Camera
from rangefinder.config import BankParams, CameraParams
from rangefinder.errors import LensError
from rangefinder.optics.kernels import FieldPoints, trace_kernels

Float = NDArray[np.float64]
log = logging.getLogger(__name__)


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
        path.stat()
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


def lens_kernels(
    camera: Camera, params: BankParams, distances_m: Float, field: FieldPoints, home: Path
) -> tuple[NDArray[np.float32], Float]:
    """Kernels and light of one quadrant of the field, from whatever is known of the lens.

    Args:
        camera: The camera record; `lens.kind` says where they come from.
        params: Bank parameters.
        distances_m: `[D]` distances.
        field: `P` places on the sensor.
        home: Folder that `lens.file` starts from.

    Returns:
        Kernels `[D, P, 3, k, k]`, each of sum 1, and flux `[D, P]` relative to the axis.

    Raises:
        LensError: If nothing is known of the lens, or what is known does not do.
    """
    if camera.lens.kind == "thin":
        from rangefinder.optics.thin import thin_kernels

        log.warning("Point spread functions are those of a thin lens: no real prescription")
        return thin_kernels(camera, params, distances_m, field)
    if camera.lens.kind == "measured":
        from rangefinder.optics.measured import measured_kernels

        folder = home / str(camera.lens.file)
        return measured_kernels(folder, camera, params, distances_m, field)
    if camera.lens.kind == "none":
        raise LensError(
            "nothing is known of the lens, so nothing can be simulated",
            got="camera.lens.kind none",
            todo="Set it to thin, zemax or measured, or captures.source: files without rgbd rows.",
        )
    from rangefinder.optics.prescription import focused_lens

    wavelengths = np.concatenate([np.asarray(group) for group in params.wavelengths_um])
    lens = focused_lens(camera, wavelengths, home)
    return trace_kernels(lens, camera, params, distances_m, field)
