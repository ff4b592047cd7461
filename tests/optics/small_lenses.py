"""Small prescriptions of our own, as Zemax, CODE V and optiland write them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from rangefinder.camera import Camera
from rangefinder.config import LensParams

HEADER = """VERS 190513 0
MODE SEQ
NAME small
UNIT MM X W X CM MR CPMM
{aperture}
GCAT SCHOTT
WAVM 1 0.4861327 1
WAVM 2 0.5875618 1
PWAV 2
"""
FOCAL_MM = 50.0  # of EVEN, nearly
EVEN = {1: 0.0, 2: -2.5e-6, 3: -1.5e-9}  # parameters of the front: r^2, r^4, r^6
ODD = {1: 0.0, 2: 1e-4, 3: -4e-5, 4: 1e-6}  # r, r^2, r^3, r^4


def singlet(
    kind: str = "EVENASPH",
    parms: dict[int, float] | None = None,
    glass: str = "N-BK7 0 0 1.5168 64.17",
    aperture: str = "FNUM 4 0",
    stop: bool = True,
    front: str = "DIAM 8 1",
    back: str = "",
    conic: float = -0.4,
) -> str:
    """A plano-convex lens with an aspheric front, and a stop behind it; about f = 50 mm."""
    parameters = "".join(f"  PARM {i} {value}\n" for i, value in (parms or EVEN).items())
    return (
        HEADER.format(aperture=aperture)
        + "SURF 0\n  TYPE STANDARD\n  CURV 0.0 0 0 0 0\n  DISZ INFINITY\n"
        + f"SURF 1\n  TYPE {kind}\n  CURV 0.0386 0\n  CONI {conic}\n{parameters}  DISZ 6\n"
        + f"  GLAS {glass} 0 0 0\n  {front}\n"
        + f"SURF 2\n  TYPE STANDARD\n  CURV 0\n  DISZ 3\n  {back}\n"
        + f"SURF 3\n{'  STOP' if stop else ''}\n  TYPE STANDARD\n  CURV 0.0\n  DISZ 43.2\n"
        + "SURF 4\n  TYPE STANDARD\n  CURV 0.0\n  DISZ 0\n"
    )


def camera_for(path: Path, **values: Any) -> Camera:
    """A camera with the lens of a file: small sensor, f/5.6, focused at 1.5 m."""
    lens = LensParams(kind="zemax", file=str(path), **values.pop("lens", {}))
    base = {"focal_length_mm": FOCAL_MM, "f_number": 5.6, "focus_distance_m": 1.5}
    sensor = {"width_px": 96, "height_px": 72, "pixel_pitch_um": 80.0}
    reference = {"distance_reference": "entrance_pupil"}
    return Camera(lens=lens, **(base | sensor | reference | values))


def write(folder: Path, text: str, name: str = "small.zmx") -> Path:
    """A file of this text."""
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path
