"""Unlabelled captures and teacher cache -> student."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from rangefinder.config import Parameters

if TYPE_CHECKING:
    from rangefinder.cache.store import TeacherCache
    from rangefinder.captures.manifest import CaptureSet
    from rangefinder.models.io import TrainedModel


def distil(
    parameters: Parameters,
    captures: CaptureSet,
    teacher: TrainedModel,
    cache: TeacherCache,
    checkpoints: Path,
) -> TrainedModel:
    """The whole-image network, taught distances by the teacher alone.

    Raises:
        StaleCacheError: If the cache is not this teacher's over these captures.
    """
    from rangefinder.cache.fingerprint import cache_key
    from rangefinder.deploy.tracking import epoch_logger
    from rangefinder.training.fit import distil_student

    cache_key(teacher, captures.select(role="unlabelled", split="train")).require(cache.key)
    logger = epoch_logger("student")
    return distil_student(captures, teacher, cache, parameters, checkpoints, logger)
