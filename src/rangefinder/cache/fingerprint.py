"""What a teacher cache depends on, field by field, so that a mismatch can be named."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping

from tqdm import tqdm

from rangefinder.cache.sweep import VERSION
from rangefinder.captures.manifest import CaptureSet
from rangefinder.config import Interval, Strict
from rangefinder.errors import CaptureError, StaleCacheError
from rangefinder.models.io import TrainedModel

PACKING = "square roots in 4 bits"  # of `Prediction.pack`; name it anew when the form changes
_DIGITS = 16


class CacheKey(Strict):
    """Everything that decides the content of a teacher cache, the plainest reasons first."""

    camera: str
    input_encoding: str
    patch_px: int
    stride_px: int
    bins: int
    inverse_range_dpt: Interval
    packing: str
    sweep_version: int
    teacher_card: str
    teacher_weights: str
    captures: str

    @property
    def fingerprint(self) -> str:
        """Hash of all fields."""
        return _hash(self.model_dump_json())

    @property
    def sweep_fingerprint(self) -> str:
        """Hash of all fields but the captures: photos swept alike may be taken over."""
        return _hash(self.model_dump_json(exclude={"captures"}))

    @property
    def cell_bytes(self) -> int:
        """Bytes of one grid cell."""
        return -(-self.bins // 2)

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


def cache_key(
    teacher: TrainedModel, captures: CaptureSet, contents: Mapping[str, str] | None = None
) -> CacheKey:
    """Key of the cache of `teacher` over `captures` (those to be swept).

    Args:
        teacher: The teacher.
        captures: The captures to be swept.
        contents: Their `capture_contents`, where these are at hand.
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
        teacher_card=_hash(card.model_dump_json(exclude={"weights_sha256"})),
        teacher_weights=_weights(teacher),
        captures=_hash(json.dumps(sorted(contents.items()))),
    )


def capture_contents(captures: CaptureSet) -> dict[str, str]:
    """Of each capture_id: hash of the picture's file as it is now, and of its place on the sensor.

    Raises:
        CaptureError: If a picture cannot be read.
    """
    ids = captures.table["capture_id"].tolist()
    paths = captures.table["image"].tolist()
    every = tqdm(range(len(ids)), "Hashing", unit="photo", disable=None, delay=2.0)
    contents = {}
    for index in every:
        try:
            data = (captures.folder / paths[index]).read_bytes()
        except OSError as exc:
            raise CaptureError(f"capture {ids[index]} cannot be read ({exc})") from exc
        digest = hashlib.sha256(data)
        digest.update(str(captures.placement(index)).encode())
        contents[ids[index]] = digest.hexdigest()[:_DIGITS]
    return contents


def _weights(teacher: TrainedModel) -> str:
    digest = hashlib.sha256()
    for name, values in sorted(teacher.network.state_dict().items()):
        digest.update(f"{name} {tuple(values.shape)} {values.dtype}".encode())
        digest.update(values.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()[:_DIGITS]


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:_DIGITS]
