"""The cache key: all that decides the content of a teacher cache, field by field."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping

from tqdm import tqdm

from rangefinder.captures.manifest import CaptureSet
from rangefinder.common.files import checksum
from rangefinder.config import Interval, Strict
from rangefinder.errors import CaptureError, StaleCacheError
from rangefinder.models.model_files import TrainedModel
from rangefinder.sweep.sweep import VERSION

RERUN = "Run the patch_caching pipeline again."
PACKING = "square roots in 4 bits"  # of `DistanceDistribution.pack`; change it with the format


class CacheKey(Strict):
    """What a teacher cache depends on; a mismatch is reported by the first field that differs.

    `camera`, `teacher` and `photos` are the fingerprints that cards and MLflow have too; `contents`
    is of the photos' files as they are now.
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
    contents: str

    @property
    def fingerprint(self) -> str:
        """Hash of all fields."""
        return checksum(self.model_dump_json().encode())

    @property
    def sweep_fingerprint(self) -> str:
        """Hash of all fields but the photos: predictions that share it may be reused."""
        return checksum(self.model_dump_json(exclude={"photos", "contents"}).encode())

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


def cache_key(
    teacher: TrainedModel, captures: CaptureSet, contents: Mapping[str, str] | None = None
) -> CacheKey:
    """Key of a teacher's cache.

    Args:
        teacher: The teacher.
        captures: The captures to be swept.
        contents: Their `capture_contents`; None: computed here.
    """
    card = teacher.card
    if contents is None:
        contents = capture_contents(captures)
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
        contents=checksum(json.dumps(sorted(contents.items())).encode()),
    )


def capture_contents(captures: CaptureSet) -> dict[str, str]:
    """Hash of each capture's image file as it is now and of its placement, by capture_id.

    Raises:
        CaptureError: If an image cannot be read.
    """
    ids, paths = (captures.table[name].tolist() for name in ("capture_id", "image"))
    contents = {}
    for index in tqdm(range(len(ids)), "Hashing", unit="photo", disable=None, delay=2.0):
        try:
            data = (captures.folder / paths[index]).read_bytes()
        except OSError as exc:
            raise CaptureError(f"capture {ids[index]} cannot be read ({exc})") from exc
        digest = hashlib.sha256(data)
        digest.update(str(captures.placement(index)).encode())
        contents[ids[index]] = digest.hexdigest()[:16]
    return contents
