"""The cache key: all that decides the content of a teacher cache, field by field."""

from __future__ import annotations

import json

from rangefinder.captures.manifest import CaptureSet
from rangefinder.common.files import checksum
from rangefinder.config import Interval, Strict
from rangefinder.errors import StaleCacheError
from rangefinder.models.model_files import TrainedModel
from rangefinder.sweep.sweep import VERSION

RERUN = "Run the patch_caching pipeline again."
PACKING = "square roots in 4 bits"  # of `DistanceDistribution.pack`; change it with the format


class CacheKey(Strict):
    """What a teacher cache depends on; a mismatch is reported by the first field that differs.

    `camera`, `teacher` and `photos` are the fingerprints that cards and MLflow have too.
    """

    camera: str
    input_encoding: str
    patch_px: int
    stride_px: int
    bins: int
    inverse_range_dpt: Interval
    packing: str
    sweep_version: int
    teacher: str
    photos: str

    @property
    def fingerprint(self) -> str:
        """Hash of all fields."""
        return checksum(self.model_dump_json().encode())

    @property
    def sweep_fingerprint(self) -> str:
        """Hash of all fields but the photos: predictions that share it may be reused."""
        return checksum(self.model_dump_json(exclude={"photos"}).encode())

    @property
    def cell_bytes(self) -> int:
        """Bytes of one grid cell."""
        return -(-self.bins // 2)

    def require(self, found: CacheKey) -> None:
        """Raise `StaleCacheError`, naming the first field that differs, if another key is found."""
        stored = found.model_dump()
        for name, expected in self.model_dump().items():
            if stored[name] != expected:
                raise StaleCacheError(
                    f"the teacher cache is of another {name}",
                    got=json.dumps(stored[name]),
                    expected=json.dumps(expected),
                    todo=RERUN,
                )


def cache_key(teacher: TrainedModel, captures: CaptureSet) -> CacheKey:
    """Key of a teacher's cache of the captures that are swept."""
    card = teacher.card
    return CacheKey(
        camera=captures.camera.fingerprint,
        input_encoding=card.input_encoding,
        patch_px=card.patch_px,
        stride_px=card.stride_px,
        bins=card.prediction.bins,
        inverse_range_dpt=card.prediction.inverse_range_dpt,
        packing=PACKING,
        sweep_version=VERSION,
        teacher=teacher.fingerprint,
        photos=captures.digest,
    )
