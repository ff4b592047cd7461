"""Teacher, captures and teacher cache -> whether they still agree."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rangefinder.config import Parameters

if TYPE_CHECKING:
    from rangefinder.cache.store import TeacherCache
    from rangefinder.captures.manifest import CaptureSet
    from rangefinder.models.io import TrainedModel


def audit(
    parameters: Parameters, captures: CaptureSet, teacher: TrainedModel, cache: TeacherCache
) -> dict[str, Any]:
    """What an audit of the cache by the patch loop found; `seed` decides what it looks at.

    Raises:
        StaleCacheError: If the cache is not this teacher's over these captures, or is damaged.
        AuditError: If the teacher does not say what the cache says.
    """
    from rangefinder.cache.audit import audit_cache

    seed, compute = parameters.seed, parameters.compute
    result = audit_cache(teacher, captures, cache, parameters.cache, seed, compute)
    result.require()
    return result.summary
