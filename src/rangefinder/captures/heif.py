"""HEIF photos (HEIC, as phones write them), laid out as their sensor is.

HEIF states rotation and mirroring as properties of the picture, which libheif applies; the EXIF
orientation counts only where there are none.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from PIL.ExifTags import Base

from rangefinder.captures.exif import exif_tags, upright
from rangefinder.captures.formats import SAVE_AS, install
from rangefinder.errors import CaptureError

if TYPE_CHECKING:
    from pillow_heif import HeifImage

BRANDS = (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"hevm", b"hevs", b"mif1", b"msf1")
HDR_TRANSFERS = {16: "PQ", 18: "HLG"}  # of H.273: no photo's brightness is known from these
Pixels = NDArray[np.generic]


def is_heif(start: bytes) -> bool:
    """Whether a file is HEIF other than AVIF, by its first bytes: a list of brands."""
    return start[4:8] == b"ftyp" and start[8:12] in BRANDS and b"avif" not in start


def open_heif(path: Path) -> HeifImage:
    """The photo of a HEIF file, which may hold others beside it; not decoded yet.

    Raises:
        CaptureError: If there is no reader, or it is an HDR photo.
    """
    try:
        import pillow_heif
    except ImportError as exc:
        raise CaptureError(
            f"{path.name} is a HEIC photo, and no reader is installed",
            todo=f"{install('heic')}, or save it as JPEG.",
        ) from exc
    file = pillow_heif.open_heif(path)
    photo = file[file.primary_index]
    transfer = _info(photo).get("nclx_profile", {}).get("transfer_characteristics")
    if transfer in HDR_TRANSFERS:
        raise CaptureError(
            f"{path.name} is an HDR photo ({HDR_TRANSFERS[transfer]})",
            todo=f"Switch HDR off in the camera. {SAVE_AS}",
        )
    return photo


def heif_samples(photo: HeifImage) -> tuple[Pixels, dict[int, Any]]:
    """Samples `[H, W]` or `[H, W, C]` as the sensor has them, and EXIF tags."""
    exif = Image.Exif()
    if "exif" in _info(photo):
        exif.load(_info(photo)["exif"])
    tags = exif_tags(exif)
    turns = [turn for turn in photo._c_image.transformations if turn[0] in ("irot", "imir")]
    if turns:
        tags[Base.Orientation] = _orientation(turns)
    return _undone(np.asarray(photo), turns), tags


def _info(photo: HeifImage) -> dict[str, Any]:
    return cast("dict[str, Any]", photo.info)


def _undone(pixels: Pixels, turns: list[tuple[str, int]]) -> Pixels:
    """Undo rotations (anticlockwise [degrees]) and mirrorings (0: upside down), last one first."""
    for kind, value in reversed(turns):
        pixels = np.rot90(pixels, -value // 90) if kind == "irot" else np.flip(pixels, value)
    return pixels


def _orientation(turns: list[tuple[str, int]]) -> int:
    """The EXIF orientation that does the same."""
    shown = np.arange(6).reshape(2, 3)
    stored = _undone(shown, turns)
    return next(code for code in range(1, 9) if np.array_equal(upright(stored, code), shown))
