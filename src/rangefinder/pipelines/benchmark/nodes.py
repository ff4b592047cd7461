"""Trained models, cache and captures -> how fast everything is on this machine."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from rangefinder.config import Parameters

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from rangefinder.cache.store import TeacherCache
    from rangefinder.captures.manifest import CaptureSet
    from rangefinder.models.io import TrainedModel


def measure_speed(
    parameters: Parameters,
    captures: CaptureSet,
    teacher: TrainedModel,
    cache: TeacherCache,
    student: TrainedModel,
    psf_banks: Path,
) -> tuple[dict[str, Any], Figure]:
    """Times, work, memory and ratios; and their figure.

    Raises:
        ModelError: If outputs differ that should be equal.
        StaleCacheError: If the cache is not this teacher's over these captures.
    """
    from rangefinder.cache.fingerprint import cache_key
    from rangefinder.deploy.benchmark import benchmark
    from rangefinder.evaluation.speed_figure import speed_figure
    from rangefinder.optics.lens import bank_for

    cache_key(teacher, captures.select(role="unlabelled", split="train")).require(cache.key)
    working_m = parameters.range.working_m
    bank = bank_for(captures.camera, parameters.bank, working_m, psf_banks)
    found = benchmark(captures, (teacher, student), cache, bank, parameters)
    return found, speed_figure(found)
