"""Filling the teacher cache: every local area of every unlabelled capture, computed once."""

from __future__ import annotations

import logging
import time
from pathlib import Path

from tqdm import tqdm

from rangefinder.cache.files import Packed
from rangefinder.cache.fingerprint import CacheKey, cache_key, capture_contents
from rangefinder.cache.pieces import Pieces
from rangefinder.cache.publish import Wanted, publish, remove_others
from rangefinder.cache.savings import Savings, loop_seconds
from rangefinder.cache.store import Entry, TeacherCache, read_cache
from rangefinder.cache.sweep import Sweep
from rangefinder.captures.manifest import CaptureSet
from rangefinder.config import CacheParams, ComputeParams
from rangefinder.errors import CaptureError, StaleCacheError
from rangefinder.location import PatchGrid
from rangefinder.lock import only_one
from rangefinder.models.io import TrainedModel

log = logging.getLogger(__name__)


def fill_cache(
    teacher: TrainedModel,
    captures: CaptureSet,
    params: CacheParams,
    folder: Path,
    epochs: int = 1,
    compute: ComputeParams | None = None,
) -> TeacherCache:
    """Store what the teacher says of all unlabelled training captures.

    What is there already of the same teacher is taken over: from a finished cache of other
    captures, and from a run that was killed. A second process waits for the first.

    Args:
        teacher: The trained teacher.
        captures: All captures.
        params: How to sweep.
        folder: Where the cache goes; work in progress lies beside it (see `work_folder`).
        epochs: How often the cache will be read, for the hours it saves.
        compute: Where to run.

    Returns:
        The finished cache.

    Raises:
        CameraMismatchError: If teacher and captures are of different cameras.
        CaptureError: If there is nothing to sweep, or a picture cannot be read.
    """
    captures.camera.require(teacher.card.camera_fingerprint, "the teacher")
    unlabelled = captures.select(role="unlabelled", split="train")
    if len(unlabelled) == 0:
        raise CaptureError(
            "there is no photo to sweep",
            todo="Add captures of role 'unlabelled' to the training split.",
        )
    card = teacher.card
    grid = card.patch_px, card.stride_px
    sweep = Sweep(teacher.network, captures.camera, params, *grid, compute)
    with only_one(folder):
        return _Filling(teacher, unlabelled, sweep, folder).run(epochs)


def work_folder(folder: Path) -> Path:
    """Where work in progress lies, outside the cache: one folder per teacher and way to sweep."""
    return folder.with_name(f"{folder.name}.work")


class _Filling:
    """One run over the captures, while the lock is held."""

    def __init__(
        self, teacher: TrainedModel, captures: CaptureSet, sweep: Sweep, folder: Path
    ) -> None:
        self.captures, self.sweep, self.folder = captures, sweep, folder
        self.pack = teacher.prediction.pack
        contents = capture_contents(captures)
        self.key = cache_key(teacher, captures, contents)
        self.wanted = _wanted(captures, contents, self.key)
        self.former = _former(folder)
        self.pieces = Pieces(work_folder(folder) / self.key.sweep_fingerprint)

    def run(self, epochs: int) -> TeacherCache:
        """Compute what is missing, then put the cache together."""
        missing = [one for one in self.wanted if self._stored(one, tell=True) is None]
        began = time.perf_counter()
        self._compute(missing)
        seconds = time.perf_counter() - began
        if self.former is not None and self.former.key == self.key and not missing:
            cache = self.former
            remove_others(cache)
        else:
            cache = publish(self.folder, self.pieces.folder, self.key, self.wanted, self._stored)
        self.pieces.drop()
        self._tell(len(missing), seconds, epochs)
        return cache

    def _stored(self, one: Wanted, tell: bool = False) -> Packed | None:
        """What an earlier run stored of a capture, if it is of this teacher and undamaged."""
        piece = self.pieces.get(one.capture_id, one.content)
        if piece is not None and len(piece) == self._size(one):
            return piece
        entry = self._entry(one)
        if self.former is None or entry is None:
            return None
        data = self.former.sound_bytes(entry)
        if data is None and tell:
            log.warning(
                "%s is damaged: computing capture %s anew",
                self.folder / entry.shard,
                one.capture_id,
            )
        return data

    def _entry(self, one: Wanted) -> Entry | None:
        if self.former is None:
            return None
        if self.former.key.sweep_fingerprint != self.key.sweep_fingerprint:
            return None
        entry = self.former.index.get(one.capture_id)
        same = entry is not None and entry.content == one.content
        return entry if same else None

    def _compute(self, missing: list[Wanted]) -> None:
        if not missing:
            return
        captures, first = self.captures, self.wanted[0].index
        # Dense or not is decided on the first capture, whichever is missing: a run that goes on
        # works the way the killed one did.
        self.sweep.settle(captures.image(first), captures.placement(first))
        log.info(
            "%d of %d photos are to be swept, by %s",
            len(missing),
            len(self.wanted),
            "dense pass" if self.sweep.dense else "patch loop",
        )
        for one in tqdm(missing, "Sweeping", unit="photo", disable=None):
            probs = self.sweep(captures.image(one.index), captures.placement(one.index))
            packed = self.pack(probs.to(self.sweep.device)).cpu().numpy().reshape(-1)
            self.pieces.add(one.capture_id, one.content, packed)

    def _tell(self, swept: int, seconds: float, epochs: int) -> None:
        first, count = self.wanted[0].index, len(self.wanted)
        image, placement = self.captures.image(first), self.captures.placement(first)
        savings = Savings(
            photos=count,
            swept=swept,
            sweep_s=seconds,
            photo_bytes=sum(map(self._size, self.wanted)) / count,
            cell_bytes=self.key.cell_bytes,
            loop_s=loop_seconds(self.sweep, image, placement),
            epochs=epochs,
        )
        for line in str(savings).splitlines():
            log.info("%s", line)

    def _size(self, one: Wanted) -> int:
        return one.rows * one.cols * self.key.cell_bytes


def _wanted(captures: CaptureSet, contents: dict[str, str], key: CacheKey) -> list[Wanted]:
    """All captures, in order of their ids."""
    table = captures.table
    wanted = []
    for index in range(len(table)):
        name = str(table["capture_id"].iloc[index])
        height, width = int(table["height_px"].iloc[index]), int(table["width_px"].iloc[index])
        grid = PatchGrid(height, width, key.patch_px, key.stride_px)
        wanted.append(Wanted(index, name, contents[name], grid.rows, grid.cols))
    return sorted(wanted, key=lambda one: one.capture_id)


def _former(folder: Path) -> TeacherCache | None:
    try:
        return read_cache(folder)
    except StaleCacheError:
        if (folder / "key.json").exists():
            log.warning("The cache in %s cannot be read: filling it anew", folder)
        return None
