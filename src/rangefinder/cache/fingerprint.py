"""What a teacher cache depends on, field by field, so that a mismatch can be named."""

from __future__ import annotations

import hashlib
import json

from rangefinder.cache.sweep import VERSION
from rangefinder.captures.manifest import CaptureSet
from rangefinder.config import Strict
from rangefinder.errors import StaleCacheError
from rangefinder.models.io import TrainedModel


class CacheKey(Strict):
    """Everything that decides the content of a teacher cache."""

    teacher: str
    camera: str
    captures: str
    patch_px: int
    stride_px: int
    bins: int
    inverse_range_dpt: tuple[float, float]
    input_encoding: str
    sweep_version: int

    @property
    def fingerprint(self) -> str:
        """Hash of all fields."""
        return hashlib.sha256(self.model_dump_json().encode()).hexdigest()[:16]

    def require(self, found: CacheKey) -> None:
        """Refuse a cache made by something else.

        Raises:
            StaleCacheError: Naming the first field that differs.
        """
        stored = found.model_dump()
        for name, wanted in self.model_dump().items():
            if stored[name] != wanted:
                raise StaleCacheError(
                    f"the teacher cache is of another {name}",
                    got=json.dumps(stored[name]),
                    expected=json.dumps(wanted),
                    todo="Run the patch_caching pipeline again.",
                )


def cache_key(teacher: TrainedModel, captures: CaptureSet) -> CacheKey:
    """Key of the cache of `teacher` over `captures` (those to be swept)."""
    card = teacher.card
    return CacheKey(
        teacher=teacher.fingerprint,
        camera=captures.camera.fingerprint,
        captures=captures.digest,
        patch_px=card.patch_px,
        stride_px=card.stride_px,
        bins=card.prediction.bins,
        inverse_range_dpt=card.prediction.inverse_range_dpt,
        input_encoding=card.input_encoding,
        sweep_version=VERSION,
    )
