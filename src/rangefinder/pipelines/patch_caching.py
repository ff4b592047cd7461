"""patch_caching: teacher + unlabelled captures -> teacher cache; cache_audit samples it again."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from kedro.pipeline import Pipeline, node

from rangefinder.config import CacheParams, ComputeParams
from rangefinder.pipelines import sections

if TYPE_CHECKING:
    from rangefinder.cache.store import TeacherCache
    from rangefinder.captures.manifest import CaptureSet
    from rangefinder.models.model_files import TrainedModel


def sweep(
    cache: CacheParams,
    compute: ComputeParams,
    captures: CaptureSet,
    teacher: TrainedModel,
    folder: Path,
) -> TeacherCache:
    """The teacher's prediction for every local area of every unlabelled capture."""
    from rangefinder.cache.fill import fill_cache
    from rangefinder.models.device import configure_cpu

    configure_cpu(compute)
    return fill_cache(teacher, captures, cache, folder, compute)


def audit(
    seed: int,
    params: CacheParams,
    compute: ComputeParams,
    captures: CaptureSet,
    teacher: TrainedModel,
    cache: TeacherCache,
) -> dict[str, Any]:
    """Compare a random sample of the cache with the patch loop; `seed` decides the sample.

    Raises:
        StaleCacheError: If the cache is not this teacher's over these captures, or is damaged.
        AuditError: If the teacher does not predict what the cache holds.
    """
    from rangefinder.cache.audit import audit_cache

    result = audit_cache(teacher, captures, cache, params, seed, compute)
    result.require()
    return result.summary


def create_pipeline() -> Pipeline:
    """Sweep the teacher over all unlabelled captures."""
    return Pipeline(
        [
            node(
                sweep,
                [*sections("cache", "compute"), "captures", "teacher", "teacher_cache_folder"],
                "teacher_cache",
                name="sweep_teacher",
            )
        ]
    )


def create_cache_audit_pipeline() -> Pipeline:
    """Compare the teacher cache with its teacher."""
    return Pipeline(
        [
            node(
                audit,
                [*sections("seed", "cache", "compute"), "captures", "teacher", "teacher_cache"],
                "cache_audit",
                name="audit_cache",
            )
        ]
    )
