"""A photo that is to be measured: read, and refused where the model was not made for it.

A model knows the blur of one camera at one focus, in pixels of its stored image. What can be seen
of a photo (its size, what its EXIF data say, a camera record beside it) must agree with that.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from rangefinder.camera import Camera
from rangefinder.captures.decode import ORIENTATION, PICTURE_SUFFIXES, decode
from rangefinder.captures.exif import other_focus, other_lens
from rangefinder.errors import CaptureError, RangefinderError
from rangefinder.location import Placement

CAMERA_FILE = "camera.json"
_FORCE = "Measure photos of the model's own camera, or force it: distances will be off."


@dataclass(frozen=True)
class Photo:
    """A photo ready to be measured.

    Attributes:
        path: Where it came from.
        image: `[3, H, W]` linear light.
        placement: Where it sits on the sensor.
        warnings: Why it should have been refused, where it was forced.
    """

    path: Path
    image: Tensor
    placement: Placement
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True)
class Terms:
    """On what terms photos are accepted.

    Attributes:
        camera: The camera that the model knows.
        placement: Where all photos sit on the sensor; None: each is the whole stored image.
        force: Accept photos of other cameras, with a warning.
    """

    camera: Camera
    placement: Placement | None = None
    force: bool = False


def read_photo(path: Path, terms: Terms) -> Photo:
    """Read a photo and check that it is what the model was made for.

    Raises:
        CaptureError: If it cannot be read, or is not of the camera and not forced.
    """
    if not path.is_file():
        raise CaptureError(f"there is no photo {path}")
    decoded = decode(path, orientation="ignore")
    height, width = decoded.image.shape[1:]
    placement, problems = _place(width, height, terms)
    problems = [
        *problems,
        *_other_settings(decoded.exif, terms.camera),
        *_other_record(path, terms.camera),
    ]
    if problems and not terms.force:
        raise CaptureError(f"{path.name} is refused: {'; '.join(problems)}", todo=_FORCE)
    return Photo(path, decoded.image, placement, tuple(problems))


def _place(width: int, height: int, terms: Terms) -> tuple[Placement, Sequence[str]]:
    camera, given = terms.camera, terms.placement
    size = f"it has {width}x{height} px"
    if given is None:
        if (width, height) == (camera.width_px, camera.height_px):
            return Placement(), []
        scale = max(camera.width_px / width, camera.height_px / height)
        guess = f"{size}, the camera {camera.width_px}x{camera.height_px}: resized or cropped"
        return _middle(width, height, camera, scale), [f"{guess} (give --origin and --scale)"]
    left, top = given.origin_px
    right, bottom = left + width * given.scale, top + height * given.scale
    slack = given.scale  # a size rounded up may stick out by less than a pixel
    inside = min(left, top) >= 0 and right < camera.width_px + slack
    if inside and bottom < camera.height_px + slack:
        return given, []
    there = f"reaches to ({right:g}, {bottom:g}) on a sensor of "
    return given, [f"{size} and {there}{camera.width_px}x{camera.height_px} px"]


def _middle(width: int, height: int, camera: Camera, scale: float) -> Placement:
    """A guess: the whole width or height of the sensor, in its middle."""
    x = (camera.width_px - width * scale) / 2
    y = (camera.height_px - height * scale) / 2
    return Placement((x, y), scale)


def _other_settings(exif: Mapping[int, Any], camera: Camera) -> list[str]:
    """What EXIF data say that is not as in the camera record."""
    problems = [told for told in (other_lens(exif, camera), other_focus(exif, camera)) if told]
    if exif.get(ORIENTATION, 1) not in (0, 1):
        problems.append("it is to be turned for display, and places on the sensor would not fit")
    return problems


def _other_record(path: Path, camera: Camera) -> list[str]:
    """A record in the photo's folder, or in the one above, names the camera that took it."""
    for folder in path.resolve().parents[:2]:
        record = folder / CAMERA_FILE
        if record.is_file():
            try:
                other = Camera.load(record)
            except RangefinderError as exc:
                return [str(exc)]
            if other.fingerprint != camera.fingerprint:
                return [
                    f"{record} names camera {other.name} ({other.fingerprint}), the model is of "
                    f"{camera.name} ({camera.fingerprint})"
                ]
            return []
    return []


def find_photos(places: Sequence[str]) -> list[Path]:
    """Photos named by files, folders (not those inside them) and patterns such as `*.jpg`.

    Raises:
        CaptureError: If a folder or pattern holds no photo.
    """
    found: dict[Path, None] = {}
    for place in places:
        path = Path(place)
        if path.is_dir():
            photos = photos_in(path)
        elif any(mark in place for mark in "*?[") and not path.exists():
            anchor = Path(path.anchor)
            pattern = str(path.relative_to(anchor)) if path.anchor else place
            photos = sorted(p for p in (anchor or Path()).glob(pattern) if p.is_file())
        else:
            photos = [path]
        if not photos:
            raise CaptureError(f"no photo in {place}", expected=" ".join(PICTURE_SUFFIXES))
        found |= dict.fromkeys(photos)
    return list(found)


def photos_in(folder: Path) -> list[Path]:
    """Photos that lie directly in a folder, by name."""
    return sorted(
        p for p in folder.iterdir() if p.suffix.lower() in PICTURE_SUFFIXES and p.is_file()
    )
