"""Zemax prescriptions, read by optiland, or a plain word on what in them cannot be read."""

from __future__ import annotations

import contextlib
import io
import warnings
from pathlib import Path
from typing import TYPE_CHECKING

from rangefinder.errors import LensError
from rangefinder.optics.prescription import require_supported

if TYPE_CHECKING:
    from optiland.optic import Optic

FAR_MM = 1e9  # an object at least this far counts as at infinity


def read_zemax(path: Path) -> Optic:
    """Read a .zmx file, its object moved to infinity.

    Args:
        path: Sequential prescription of a photographic lens, front element first.

    Raises:
        LensError: If it cannot be read, or holds what cannot be traced.
    """
    from optiland.fileio import load_zemax_file

    if not path.is_file():
        raise LensError(f"there is no lens file {path.name}", todo="Set camera.lens.file.")
    told = io.StringIO()  # optiland prints what it leaves out
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(told):
            warnings.simplefilter("ignore")
            optic: Optic = load_zemax_file(str(path))
    except Exception as exc:  # optiland raises whatever its parser stumbles over
        raise LensError(
            f"{path.name} cannot be read as a Zemax prescription",
            got=f"{type(exc).__name__}: {exc}",
            todo="Set camera.lens.kind: thin, or measured with point sources of this lens.",
        ) from exc
    require_supported(optic, path.name)
    _require_photographic(optic, path.name)
    return optic


def _require_photographic(optic: Optic, name: str) -> None:
    """Refuse lenses that do not photograph distant things in air."""
    distance = float(optic.surfaces[0].thickness)
    back = float(optic.surfaces[-2].thickness)
    if abs(distance) < FAR_MM and abs(distance) < abs(back):
        raise LensError(
            f"{name} is laid out the other way round: its object is nearer than its image",
            got=f"object at {distance:.4g} mm, image at {back:.4g} mm",
            expected="the front element, which faces the scene, first",
            todo="Reverse the lens in the program it comes from, or choose another.",
        )
