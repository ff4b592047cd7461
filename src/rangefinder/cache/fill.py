"""Filling the teacher cache: every local area of every unlabelled capture."""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterator
from pathlib import Path

from torch import Tensor
from tqdm import tqdm

from rangefinder.cache.fingerprint import cache_key
from rangefinder.cache.store import TeacherCache, write_cache
from rangefinder.cache.sweep import Sweep
from rangefinder.captures.manifest import CaptureSet
from rangefinder.config import CacheParams
from rangefinder.models.io import TrainedModel

log = logging.getLogger(__name__)


def fill_cache(
    teacher: TrainedModel, captures: CaptureSet, params: CacheParams, folder: Path
) -> TeacherCache:
    """Sweep all unlabelled training captures and store what the teacher says.

    Args:
        teacher: The trained teacher.
        captures: All captures.
        params: How to sweep.
        folder: Where the cache goes.

    Returns:
        The finished cache.

    Raises:
        CameraMismatchError: If teacher and captures are of different cameras.
    """
    captures.camera.require(teacher.card.camera_fingerprint, "the teacher")
    unlabelled = captures.select(role="unlabelled", split="train")
    card = teacher.card
    sweep = Sweep(teacher.network, captures.camera, params, card.patch_px, card.stride_px)
    key = cache_key(teacher, unlabelled)
    return write_cache(folder, key, _predictions(teacher, unlabelled, sweep))


def _predictions(
    teacher: TrainedModel, captures: CaptureSet, sweep: Sweep
) -> Iterator[tuple[str, Tensor]]:
    ids = captures.table["capture_id"].tolist()
    for index in tqdm(range(len(ids)), "Sweeping", unit="photo", disable=not sys.stderr.isatty()):
        probs = sweep(captures.image(index), captures.placement(index))
        if index == 0:
            log.info("Sweep by %s", "dense pass" if sweep.dense else "patch loop")
        yield ids[index], teacher.prediction.pack(probs)
