"""Photos from outside that are added to a folder of unlabelled captures."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from rangefinder.captures.manifest import (
    FILE_COLUMNS,
    TABLE_FILE,
    Capture,
    CaptureSet,
    capture_id,
    read_captures,
    write_captures,
)
from rangefinder.captures.photos import PhotoPolicy, read_photo
from rangefinder.captures.sample_bits import SampleBits
from rangefinder.errors import CaptureError
from rangefinder.photo_domain import Storage

log = logging.getLogger(__name__)


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
    with _of_adaptation(folder):
        added = read_captures(folder)
        added.verify()
    captures.camera.require(
        added.camera.fingerprint, str(folder), todo="Remove it: its photos cannot be used."
    )
    return added


@contextmanager
def _of_adaptation(folder: Path) -> Iterator[None]:
    """Name the command that makes added photos anew; ingestion does not."""
    try:
        yield
    except CaptureError as error:
        todo = f"Remove {folder} and add its photos again with 'rangefinder adapt'."
        raise CaptureError(error.finding, todo=todo) from error


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
