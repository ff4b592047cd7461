"""Teacher and unlabelled captures -> teacher cache."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from rangefinder.config import Parameters

if TYPE_CHECKING:
    from rangefinder.cache.store import TeacherCache
    from rangefinder.captures.manifest import CaptureSet
    from rangefinder.models.io import TrainedModel


def sweep(
    parameters: Parameters, captures: CaptureSet, teacher: TrainedModel, folder: Path
) -> TeacherCache:
    """What the teacher says of every local area of every unlabelled capture."""
    from rangefinder.cache.fill import fill_cache
    from rangefinder.models.device import configure_cpu

    configure_cpu(parameters.compute)
    epochs = parameters.student.max_epochs
    compute = parameters.compute
    return fill_cache(teacher, captures, parameters.cache, folder, epochs, compute)
