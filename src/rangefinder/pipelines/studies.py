"""benchmark: throughput on this machine; ablation: what each part of the method is worth."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from kedro.pipeline import Pipeline, node

from rangefinder.config import Parameters

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

    from rangefinder.cache.store import TeacherCache
    from rangefinder.captures.manifest import CaptureSet
    from rangefinder.models.model_files import TrainedModel


def measure_speed(
    parameters: Parameters,
    captures: CaptureSet,
    teacher: TrainedModel,
    cache: TeacherCache,
    student: TrainedModel,
    psf_banks: Path,
) -> tuple[dict[str, Any], Figure]:
    """Times, work, memory and ratios, of which student; and their figure.

    Raises:
        ModelError: If outputs differ that should be equal.
        StaleCacheError: If the cache is not this teacher's over these captures.
    """
    from rangefinder.optics.psf_bank import bank_for
    from rangefinder.studies.benchmark.report import speed_figure
    from rangefinder.studies.benchmark.study import benchmark

    cache.require(teacher, captures)
    working_m = parameters.range.working_m
    bank = bank_for(captures.camera, parameters.bank, working_m, psf_banks)
    found = benchmark(captures, (teacher, student), cache, bank, parameters)
    return found | {"student": student.fingerprint}, speed_figure(found)


def create_benchmark_pipeline() -> Pipeline:
    """Time, compare and draw."""
    return Pipeline(
        [
            node(
                measure_speed,
                ["parameters", "captures", "teacher", "teacher_cache", "student", "psf_banks"],
                ["benchmark", "benchmark_figure"],
                name="measure_speed",
            )
        ]
    )


def compare_variants(
    parameters: Parameters, captures: CaptureSet, folder: Path
) -> tuple[pd.DataFrame, Figure, dict[str, Any]]:
    """Scores of every variant and seed, their figure, and which hypotheses hold."""
    from rangefinder.studies.ablation.report import ablation_figure, summary
    from rangefinder.studies.ablation.study import ablate

    table = ablate(captures, parameters, folder)
    found = summary(table) | {"captures": captures.digest}
    return table, ablation_figure(table), found


def create_ablation_pipeline() -> Pipeline:
    """Train and score every variant."""
    return Pipeline(
        [
            node(
                compare_variants,
                ["parameters", "captures", "ablation_folder"],
                ["ablation_table", "ablation_figure", "ablation"],
                name="compare_variants",
            )
        ]
    )
