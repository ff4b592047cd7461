"""Photos from outside: read, and checked against the camera of a model.

A model is valid for one camera at one focus, in pixels of its stored image. A photo's size, its
EXIF data and the camera record beside it must agree with that.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from PIL.ExifTags import Base

from rangefinder.camera import RECORD_FILE, Camera
from rangefinder.captures.decoding import MAX_PIXELS, decode, require_size
from rangefinder.captures.exif import (
    focus_difference,
    is_turned,
    lens_difference,
    turned_by_a_quarter,
    upright,
)
from rangefinder.captures.formats import PICTURE_SUFFIXES, say_skipped, skipped_lines, sort_photos
from rangefinder.captures.light import Float, light_of_samples
from rangefinder.captures.photo_statistics import photo_statistics
from rangefinder.captures.storage import plain_storage
from rangefinder.config import Orientation
from rangefinder.coordinates import Placement
from rangefinder.errors import CaptureError, RangefinderError
from rangefinder.photo_domain import PhotoDomain, Shift, Storage

if TYPE_CHECKING:
    from torch import Tensor

FORCE = "Measure photos of the model's own camera, or force it: distances will be off."
SHIFTED = (
    "The model was trained on {domain}: measure such photos, train for others (camera.encoding), "
    "or force it: distances will be off, and intervals are widened for it."
)


@dataclass(frozen=True)
class Photo:
    """A photo ready to be measured, laid out as the camera record is."""

    path: Path  # its file
    light: Float  # `[3, H, W]` linear light
    storage: Storage  # how its file stores it
    placement: Placement  # where it sits on the sensor
    warnings: tuple[str, ...] = ()  # why it would have been refused, if forced
    shifts: tuple[Shift, ...] = ()  # domain shifts among these
    turn: int = 1  # EXIF orientation by which viewers turn it; 1: they do not
    largest: int | None = None  # sample, if nothing says how many of its 16 bits are used

    def shown(self, values: NDArray[Any]) -> NDArray[Any]:
        """`[H, W, ...]` of the photo's pixels, turned as viewers turn the photo."""
        if self.turn == 1:
            return values
        return np.ascontiguousarray(upright(values, self.turn))

    def stored_pixels(
        self, rows: NDArray[np.integer], columns: NDArray[np.integer]
    ) -> tuple[NDArray[np.integer], NDArray[np.integer]]:
        """Rows and columns of the stored photo, ascending, that viewers show at these.

        `shown` of a map on them is the map at `rows` and `columns` as viewers show it, if these
        ascend.
        """
        size = self.light.shape[1:]
        stored = (
            upright(np.broadcast_to(index, size), self.turn)[np.ix_(rows, columns)]
            for index in np.ogrid[: size[0], : size[1]]
        )
        found_rows, found_columns = map(np.unique, stored)
        return found_rows, found_columns

    @property
    def image(self) -> Tensor:
        """`light` as a tensor."""
        import torch

        return torch.from_numpy(self.light)

    @property
    def shown_light(self) -> Float:
        """`[3, H, W]` linear light, turned as viewers turn the photo."""
        return self.shown(self.light.transpose(1, 2, 0)).transpose(2, 0, 1)


@dataclass(frozen=True)
class PhotoPolicy:
    """Which photos are accepted.

    Attributes:
        placement: Of all photos on the sensor; None: each is the whole stored image.
    """

    camera: Camera  # the camera of the model
    placement: Placement | None = None
    force: bool = False  # accept photos of other cameras, with a warning
    orientation: Orientation = "refuse"  # what the model was trained with, as in `decode`
    sample_bits: int | None = None  # of 16-bit photos that do not say it; None: all
    domain: PhotoDomain | None = None  # photos that the model was trained on, if known
    max_pixels: int = MAX_PIXELS  # larger ones are refused before their pixels take memory


def read_photo(path: Path, policy: PhotoPolicy) -> Photo:
    """Read a photo and check that it is of the model's camera.

    Raises:
        CaptureError: If it cannot be read, or is not of the camera and not forced.
    """
    if not path.is_file():
        raise CaptureError(f"there is no photo {path}")
    choice: Orientation = "apply" if policy.orientation == "apply" else "ignore"
    decoded = decode(
        path, orientation=choice, sample_bits=policy.sample_bits, max_pixels=policy.max_pixels
    )
    other = (*_setting_problems(decoded.exif, policy), *_record_problem(path, policy.camera))
    photo = _accept(path, path.name, decoded.light, decoded.storage, policy, other)
    is_stored_turned = choice == "ignore" and is_turned(decoded.exif)
    turn = decoded.exif[Base.Orientation] if is_stored_turned else 1
    return replace(photo, turn=turn, largest=decoded.largest)


def photo_of_array(pixels: NDArray[np.generic], policy: PhotoPolicy) -> Photo:
    """A photo from samples in memory, checked as a file would be.

    Args:
        pixels: `[H, W, 3]` or `[H, W]`; uint8 is taken as sRGB, uint16 and float (0..1) as linear.
        policy: Which photos are accepted.

    Raises:
        CaptureError: If shape, type or range are not those of a photo, or it is not of the camera
            and not forced.
    """
    name = "the array"
    bits = policy.sample_bits if pixels.dtype == np.uint16 else None
    if pixels.ndim == 2 or pixels.shape[2:] == (3,):
        require_size(name, pixels.shape[1], pixels.shape[0], policy.max_pixels)
    light = light_of_samples(name, pixels, bits=bits)
    storage = plain_storage(pixels.dtype == np.uint8)
    photo = _accept(Path("array"), name, light, storage, policy)
    is_untold = pixels.dtype == np.uint16 and bits is None
    return replace(photo, largest=int(pixels.max()) if is_untold else None)


def _accept(
    path: Path,
    name: str,
    light: Float,
    storage: Storage,
    policy: PhotoPolicy,
    other: Sequence[str] = (),
) -> Photo:
    """The photo at its place on the sensor; refused for problems of size, domain or `other`."""
    placement, size_problem = _place(light.shape[2], light.shape[1], policy)
    placement.size_on_sensor(policy.camera, light.shape[1], light.shape[2])
    setting = tuple(filter(None, (size_problem, *other)))
    shifts: Sequence[Shift] = ()
    if policy.domain is not None and policy.domain.statistics:
        shifts = policy.domain.shifts(storage, photo_statistics(light, placement))
    problems = (*setting, *(str(shift) for shift in shifts))
    if problems and not policy.force:
        todo = FORCE if setting else SHIFTED.format(domain=policy.domain)
        raise CaptureError(f"{name} is refused: {'; '.join(problems)}", todo=todo)
    return Photo(path, light, storage, placement, problems, tuple(shifts))


def _place(width: int, height: int, policy: PhotoPolicy) -> tuple[Placement, str]:
    """The placement, guessed if the size is not the camera's, and what is wrong with the size."""
    camera, given = policy.camera, policy.placement
    size = f"it has {width}x{height} px"
    if given is None:
        if (width, height) == (camera.width_px, camera.height_px):
            return Placement(), ""
        scale = max(camera.width_px / width, camera.height_px / height)
        guess = "resized or cropped (give --origin and --scale)"
        guess = turned_by_a_quarter(width, height, camera) or guess
        x, y = (camera.width_px - width * scale) / 2, (camera.height_px - height * scale) / 2
        problem = f"{size}, the camera {camera.width_px}x{camera.height_px}: {guess}"
        return Placement((x, y), scale), problem
    left, top = given.origin_px
    right, bottom = left + width * given.scale, top + height * given.scale
    slack = given.scale  # a size rounded up may stick out by less than a pixel
    inside = min(left, top) >= 0 and right < camera.width_px + slack
    if inside and bottom < camera.height_px + slack:
        return given, ""
    there = f"reaches to ({right:g}, {bottom:g}) on a sensor of "
    return given, f"{size} and {there}{camera.width_px}x{camera.height_px} px"


def _setting_problems(exif: Mapping[int, Any], policy: PhotoPolicy) -> Iterator[str]:
    yield lens_difference(exif, policy.camera)
    yield focus_difference(exif, policy.camera)
    if is_turned(exif) and policy.orientation == "refuse":
        yield (
            f"it is stored turned (EXIF orientation {exif[Base.Orientation]}), and the model was "
            "trained with captures.orientation: refuse (ignore takes photos held any way)"
        )


def _record_problem(path: Path, camera: Camera) -> list[str]:
    """How the camera record in the photo's folder, or in the one above, differs from `camera`."""
    for folder in path.resolve().parents[:2]:
        record = folder / RECORD_FILE
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
            break
    return []


def find_photos(places: Sequence[str]) -> list[Path]:
    """Photos named by files, folders (not those inside them) and patterns such as `*.jpg`.

    Raises:
        CaptureError: If a folder or pattern holds no photo.
    """
    found: dict[Path, None] = {}
    for place in places:
        path, skipped = Path(place), list[Path]()
        if path.is_dir():
            photos, skipped = sort_photos(path.iterdir())
        elif any(mark in place for mark in "*?[") and not path.exists():
            anchor = Path(path.anchor)
            pattern = str(path.relative_to(anchor)) if path.anchor else place
            photos = sorted(p for p in (anchor or Path()).glob(pattern) if p.is_file())
        else:
            photos = [path]
        if not photos:
            raise CaptureError(
                f"no photo in {place}",
                got="; ".join(skipped_lines(skipped)) or None,
                expected=" ".join(PICTURE_SUFFIXES),
            )
        say_skipped(skipped)
        found |= dict.fromkeys(photos)
    return list(found)
