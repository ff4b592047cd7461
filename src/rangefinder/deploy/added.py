"""Photos that were added since training, beside the captures that training made do with."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import pandas as pd

from rangefinder.captures.manifest import (
    FILE_COLUMNS,
    TABLE_FILE,
    Capture,
    CaptureSet,
    capture_id,
    read_captures,
    write_captures,
)
from rangefinder.deploy.photo import Terms, read_photo
from rangefinder.errors import CaptureError


@dataclass(frozen=True)
class Added:
    """What became of photos that were to be added.

    Attributes:
        new: Photos that are there now and were not before.
        known: Photos that had been there before.
        refused: Photo to reason.
    """

    new: int
    known: int
    refused: dict[str, str]


def add_photos(folder: Path, captures: CaptureSet, photos: Sequence[Path]) -> Added:
    """Put those photos into a folder of unlabelled captures that are not known yet.

    Args:
        folder: Photos that were added before, if any.
        captures: Those that training began with.
        photos: Files.

    Raises:
        CameraMismatchError: If the folder is of another camera.
    """
    before = _there(folder, captures)
    seen = {*captures.table["capture_id"], *(before.table["capture_id"] if before else ())}
    refused: dict[str, str] = {}
    new: dict[str, Path] = {}
    known = 0
    for path in photos:
        try:
            photo = read_photo(path, Terms(captures.camera))
        except CaptureError as error:
            refused[str(path)] = str(error)
            continue
        identity = capture_id(photo.image, photo.placement, captures.camera)
        known += identity in seen
        if identity not in seen:
            seen.add(identity)
            new[identity] = path
    if new:
        write_captures(folder, captures.camera, _captures(captures, before, new))
    return Added(len(new), known, refused)


def _there(folder: Path, captures: CaptureSet) -> CaptureSet | None:
    """What was added before, of the same camera; None if nothing was."""
    if not (folder / TABLE_FILE).is_file():
        return None
    there = read_captures(folder)
    captures.camera.require(
        there.camera.fingerprint, str(folder), todo="Remove it: its photos cannot be used."
    )
    return there


def _captures(
    captures: CaptureSet, before: CaptureSet | None, new: dict[str, Path]
) -> Iterator[Capture]:
    for index in range(len(before) if before is not None else 0):
        assert before is not None
        yield Capture(
            image=before.image(index),
            role="unlabelled",
            scene=before.row(index)["scene"],
            split="train",
            placement=before.placement(index),
        )
    for identity, path in new.items():
        photo = read_photo(path, Terms(captures.camera))
        scene = f"added-{identity}"  # never the name of a scene that is held out
        yield Capture(photo.image, "unlabelled", scene, "train", placement=photo.placement)


def with_added(captures: CaptureSet, folder: Path) -> CaptureSet:
    """Captures and those that were added in a folder, if any, as one set.

    Raises:
        CameraMismatchError: If the folder is of another camera.
    """
    more = _there(folder, captures)
    if more is None:
        return captures
    way = Path(os.path.relpath(more.folder, captures.folder))
    moved = more.table.copy()
    for column in FILE_COLUMNS:
        moved[column] = [name if pd.isna(name) else str(way / name) for name in moved[column]]
    table = pd.concat([captures.table, moved.astype(captures.table.dtypes)], ignore_index=True)
    return replace(captures, table=table)
