"""Filling the teacher cache: the predictions of every patch of every unlabelled capture, once."""

from __future__ import annotations

import contextlib
import logging
import shutil
import time
import timeit
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from rangefinder.cache.key import cache_key
from rangefinder.cache.store import (
    CacheEntrySpec,
    Packed,
    TeacherCache,
    publish,
    read_cache,
    remove_others,
)
from rangefinder.captures.manifest import CaptureSet
from rangefinder.common.files import checksum
from rangefinder.common.locks import exclusive_lock
from rangefinder.config import CacheParams, ComputeParams
from rangefinder.coordinates import PatchGrid, Placement
from rangefinder.errors import CaptureError, StaleCacheError
from rangefinder.models.model_files import TrainedModel
from rangefinder.sweep.sweep import Sweep

WARM_UP = 16  # patches, before the clock runs
log = logging.getLogger(__name__)


def fill_cache(
    teacher: TrainedModel,
    captures: CaptureSet,
    params: CacheParams,
    folder: Path,
    compute: ComputeParams | None = None,
) -> TeacherCache:
    """Store the teacher's predictions for all unlabelled training captures in `folder`.

    Predictions of the same teacher are reused: from a finished cache of other captures, and from
    the partial results of a run that was killed, beside `folder` (see `work_folder`). A second
    process waits for the first.

    Raises:
        CameraMismatchError: If teacher and captures are of different cameras.
        CaptureError: If there is nothing to sweep, or an image cannot be read.
    """
    card = teacher.card
    captures.camera.require(card.camera_fingerprint, "the teacher")
    unlabelled = captures.select(role="unlabelled", split="train")
    if len(unlabelled) == 0:
        raise CaptureError(
            "there is no photo to sweep",
            todo="Add captures of role 'unlabelled' to the training split.",
        )
    grid = card.patch_px, card.stride_px
    sweep = Sweep(teacher.network, captures.camera, params, *grid, compute)
    with exclusive_lock(folder):
        return _Filling(teacher, unlabelled, sweep, folder).run()


def work_folder(folder: Path) -> Path:
    """Folder of partial results, outside the cache; one folder per sweep fingerprint in it."""
    return folder.with_name(f"{folder.name}.work")


class PartialResults:
    """Packed predictions of single captures, one file each.

    A file's name holds the checksum of its content, and files are renamed into place, so a process
    may be killed at any moment: a file is found whole or not used. They are not synchronised to the
    disk one by one, for after a power cut the checksum finds what is lost.

    Args:
        folder: Of the files; made when needed.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        for leftover in folder.glob("*.partial"):
            leftover.unlink()
        self._files = {
            path.stem.rpartition("-")[0]: path for path in sorted(folder.glob("*.piece"))
        }

    def add(self, capture_id: str, content: str, data: Packed) -> None:
        """Store the predictions of a capture."""
        name = f"{capture_id}-{content}"
        path = self.folder / f"{name}-{checksum(data)}.piece"
        partial = path.with_suffix(".partial")
        partial.write_bytes(data.tobytes())
        self._files[name] = partial.replace(path)

    def get(self, capture_id: str, content: str) -> Packed | None:
        """The predictions of a capture, or None if they are missing or damaged."""
        path = self._files.get(f"{capture_id}-{content}")
        if path is None:
            return None
        try:
            data = np.fromfile(path, dtype=np.uint8)
        except FileNotFoundError:  # somebody cleaned up meanwhile
            return None
        return data if checksum(data) == path.stem.rpartition("-")[2] else None

    def drop(self) -> None:
        """Remove all."""
        shutil.rmtree(self.folder)
        self._files.clear()
        with contextlib.suppress(OSError):  # another teacher's results lie there
            self.folder.parent.rmdir()


class _Filling:
    """One run over the captures, while the lock is held."""

    def __init__(
        self, teacher: TrainedModel, captures: CaptureSet, sweep: Sweep, folder: Path
    ) -> None:
        self.captures, self.sweep, self.folder = captures, sweep, folder
        self.pack = teacher.distribution.pack
        self.key = cache_key(teacher, captures)
        self.specs = self._specs()
        former = _former(folder)
        reusable = former and former.key.sweep_fingerprint == self.key.sweep_fingerprint
        self.former = former if reusable else None
        self.partial = PartialResults(work_folder(folder) / self.key.sweep_fingerprint)

    def run(self) -> TeacherCache:
        """Compute what is missing, then write the cache."""
        missing = [spec for spec in self.specs if self._stored(spec) is None]
        start = time.perf_counter()
        self._compute(missing)
        seconds = time.perf_counter() - start
        if self.former is not None and self.former.key == self.key and not missing:
            cache = self.former
            remove_others(cache)
        else:
            cache = publish(self.folder, self.partial.folder, self.key, self.specs, self._stored)
        self.partial.drop()
        self._log_savings(len(missing), seconds)
        return cache

    def _specs(self) -> list[CacheEntrySpec]:
        """All captures, sorted by id."""
        table, patch = self.captures.table, (self.key.patch_px, self.key.stride_px)
        specs = []
        for index, name in enumerate(map(str, table["capture_id"])):
            height, width = (int(table[size].iloc[index]) for size in ("height_px", "width_px"))
            grid = PatchGrid(height, width, *patch)
            swept = f"{table['image_sha256'].iloc[index]} {self.captures.placement(index)}"
            content = checksum(swept.encode())
            specs.append(CacheEntrySpec(index, name, content, grid.rows, grid.cols))
        return sorted(specs, key=lambda spec: spec.capture_id)

    def _stored(self, spec: CacheEntrySpec) -> Packed | None:
        """What an earlier run stored of a capture, if it is of this teacher and undamaged."""
        data = self.partial.get(spec.capture_id, spec.content)
        if data is not None and len(data) == self._size(spec):
            return data
        entry = self.former.index.get(spec.capture_id) if self.former else None
        if self.former is None or entry is None or entry.content != spec.content:
            return None
        data = self.former.verified_bytes(entry)
        if data is None:
            path = self.folder / entry.shard
            log.warning("%s is damaged: recomputing capture %s", path, spec.capture_id)
        return data

    def _compute(self, missing: list[CacheEntrySpec]) -> None:
        if not missing:
            return
        # Checked on the first capture, whichever are missing: a run that goes on sweeps as the
        # killed one did.
        self.sweep.prepare(*self._photo(self.specs[0]))
        log.info(
            "%d of %d photos are to be swept, by %s",
            len(missing),
            len(self.specs),
            "dense pass" if self.sweep.dense else "patch loop",
        )
        for spec in tqdm(missing, "Sweeping", unit="photo", disable=None):
            probs = self.sweep(*self._photo(spec))
            packed = self.pack(probs.to(self.sweep.device)).cpu().numpy().reshape(-1)
            self.partial.add(spec.capture_id, spec.content, packed)

    def _log_savings(self, swept: int, seconds: float) -> None:
        photos = len(self.specs)
        log.info(
            "Teacher cache: %d photos (%d swept now, in %.1f s), %.0f kB per photo, %d bytes per "
            "grid cell",
            photos,
            swept,
            seconds,
            sum(map(self._size, self.specs)) / photos / 1000,
            self.key.cell_bytes,
        )
        loop_s = _loop_seconds(self.sweep, *self._photo(self.specs[0]))
        log.info(
            "Hours saved per epoch against the patch loop (%.2f s per photo): %.2f",
            loop_s,
            loop_s * photos / 3600,
        )

    def _photo(self, spec: CacheEntrySpec) -> tuple[Tensor, Placement]:
        return self.captures.image(spec.index), self.captures.placement(spec.index)

    def _size(self, spec: CacheEntrySpec) -> int:
        return spec.rows * spec.cols * self.key.cell_bytes


def _loop_seconds(sweep: Sweep, image: Tensor, placement: Placement) -> float:
    """Seconds of the patch loop over a photo `[3, H, W]`, scaled from one batch of its patches."""
    grid = sweep.grid(image)
    patches = grid.rows * grid.cols
    sample = torch.linspace(0, patches - 1, min(patches, sweep.params.patch_batch)).long()
    sweep.patch_loop(image, placement, sample[:WARM_UP])
    seconds = timeit.timeit(lambda: sweep.patch_loop(image, placement, sample), number=1)
    return seconds * patches / len(sample)


def _former(folder: Path) -> TeacherCache | None:
    try:
        return read_cache(folder)
    except StaleCacheError:
        if (folder / "key.json").exists():
            log.warning("The cache in %s cannot be read: filling it anew", folder)
        return None
