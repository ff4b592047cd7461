"""Photos from outside: read, checked against the camera of a model, added as captures.

A model is valid for one camera at one focus, in pixels of its stored image. A photo's size, its
EXIF data and the camera record beside it must agree with that.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL.ExifTags import Base
from torch import Tensor

from rangefinder.camera import Camera
from rangefinder.captures.decoding import MAX_PIXELS, decode, require_size
from rangefinder.captures.exif import (
    focus_difference,
    is_turned,
    lens_difference,
    turned_by_a_quarter,
    upright,
)
from rangefinder.captures.formats import PICTURE_SUFFIXES, say_skipped, skipped_lines, sort_photos
from rangefinder.captures.images import linear_light
from rangefinder.captures.manifest import (
    FILE_COLUMNS,
    RECORD_FILE,
    TABLE_FILE,
    Capture,
    CaptureSet,
    capture_id,
    read_captures,
    write_captures,
)
from rangefinder.captures.photo_statistics import photo_statistics
from rangefinder.captures.sample_bits import SampleBits
from rangefinder.captures.storage import plain_storage
from rangefinder.config import Orientation
from rangefinder.coordinates import Placement
from rangefinder.errors import CaptureError, RangefinderError
from rangefinder.photo_domain import PhotoDomain, Shift, Storage

log = logging.getLogger(__name__)
FORCE = "Measure photos of the model's own camera, or force it: distances will be off."
SHIFTED = (
    "The model was trained on {domain}: measure such photos, train for others (camera.encoding), "
    "or force it: distances will be off, and intervals are widened for it."
)


@dataclass(frozen=True)
class Photo:
    """A photo ready to be measured, laid out as the camera record is."""

    path: Path  # its file
    image: Tensor  # `[3, H, W]` linear light
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
        size = self.image.shape[1:]
        stored = (
            upright(np.broadcast_to(index, size), self.turn)[np.ix_(rows, columns)]
            for index in np.ogrid[: size[0], : size[1]]
        )
        found_rows, found_columns = map(np.unique, stored)
        return found_rows, found_columns

    @property
    def shown_image(self) -> Tensor:
        """`[3, H, W]` linear light, turned as viewers turn the photo."""
        turned = self.shown(self.image.movedim(0, -1).numpy())
        return torch.from_numpy(turned).movedim(-1, 0)


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
    photo = _accept(path, path.name, decoded.image, decoded.storage, policy, other)
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
    image = linear_light(name, pixels, bits=bits)
    storage = plain_storage(pixels.dtype == np.uint8)
    photo = _accept(Path("array"), name, image, storage, policy)
    is_untold = pixels.dtype == np.uint16 and bits is None
    return replace(photo, largest=int(pixels.max()) if is_untold else None)


def _accept(
    path: Path,
    name: str,
    image: Tensor,
    storage: Storage,
    policy: PhotoPolicy,
    other: Sequence[str] = (),
) -> Photo:
    """The photo at its place on the sensor; refused for problems of size, domain or `other`."""
    placement, size_problem = _place(image.shape[2], image.shape[1], policy)
    setting = tuple(filter(None, (size_problem, *other)))
    shifts: Sequence[Shift] = ()
    if policy.domain is not None and policy.domain.statistics:
        shifts = policy.domain.shifts(storage, photo_statistics(image, placement))
    problems = (*setting, *(str(shift) for shift in shifts))
    if problems and not policy.force:
        todo = FORCE if setting else SHIFTED.format(domain=policy.domain)
        raise CaptureError(f"{name} is refused: {'; '.join(problems)}", todo=todo)
    return Photo(path, image, storage, placement, problems, tuple(shifts))


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


@dataclass(frozen=True)
class Added:
    """Result of `add_photos`."""

    new: int  # number of photos that were added
    known: int  # number of photos that had been there before
    refused: dict[str, str]  # reason by photo


def add_photos(
    folder: Path, captures: CaptureSet, photos: Sequence[Path], policy: PhotoPolicy
) -> Added:
    """Add photos that are not in `captures` yet to a folder of unlabelled captures.

    Args:
        folder: Photos that were added before, if any.
        captures: Those that training began with.
        photos: Files.
        policy: Which are accepted.

    Raises:
        CameraMismatchError: If the folder is of another camera.
    """
    before = _earlier(folder, captures)
    seen = {*captures.table["capture_id"], *(before.table["capture_id"] if before else ())}
    refused: dict[str, str] = {}
    new: dict[str, Path] = {}
    bits = SampleBits()
    known = 0
    for path in photos:
        try:
            photo = read_photo(path, policy)
        except CaptureError as error:
            refused[str(path)] = str(error)
            continue
        bits.add(photo.largest)
        identity = capture_id(photo.image, photo.placement, captures.camera)
        known += identity in seen
        if identity not in seen:
            seen.add(identity)
            new[identity] = path
    if new:
        write_captures(folder, captures.camera, _captures(policy, before, new))
    if bits.doubt:
        log.warning("%s. %s", bits.doubt, bits.todo())
    return Added(len(new), known, refused)


def _earlier(folder: Path, captures: CaptureSet) -> CaptureSet | None:
    """The captures added before, of the same camera; None if there are none."""
    if not (folder / TABLE_FILE).is_file():
        return None
    added = read_captures(folder)
    captures.camera.require(
        added.camera.fingerprint, str(folder), todo="Remove it: its photos cannot be used."
    )
    return added


def _captures(
    policy: PhotoPolicy, before: CaptureSet | None, new: dict[str, Path]
) -> Iterator[Capture]:
    if before is not None:
        for index in range(len(before)):
            row = before.row(index)
            yield Capture(
                image=before.image(index),
                role="unlabelled",
                scene=row["scene"],
                split="train",
                placement=before.placement(index),
                storage=Storage.parse(row["storage"]),
            )
    accepted = replace(policy, domain=None)  # its statistics need not be taken again
    for identity, path in new.items():
        photo = read_photo(path, accepted)
        yield Capture(
            image=photo.image,
            role="unlabelled",
            scene=f"added-{identity}",  # never the name of a scene that is held out
            split="train",
            placement=photo.placement,
            storage=photo.storage,
        )


def with_added(captures: CaptureSet, folder: Path) -> CaptureSet:
    """Captures and those added in a folder, if any, as one set.

    Raises:
        CameraMismatchError: If the folder is of another camera.
    """
    import pandas as pd

    more = _earlier(folder, captures)
    if more is None:
        return captures
    relative = Path(os.path.relpath(more.folder, captures.folder))
    moved = more.table.copy()
    for column in FILE_COLUMNS:
        moved[column] = [name if pd.isna(name) else str(relative / name) for name in moved[column]]
    table = pd.concat([captures.table, moved.astype(captures.table.dtypes)], ignore_index=True)
    return replace(captures, table=table)
