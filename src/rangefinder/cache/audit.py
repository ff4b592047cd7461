"""The audit: a random sample of a teacher cache against the teacher, asked patch by patch.

A cache holds rounded numbers: the code c (0..15) of a bin stands for every probability whose root,
relative to that of the likeliest bin, rounds to c / 15. The audit measures by how much the patch
loop's probability lies OUTSIDE what the code stands for. Rounding alone gives 0 whatever the
distribution, so the limit can be as tight as the two ways of sweeping agree; another teacher, a
grid off by one cell or a changed code lie outside by the order of the difference they make. Changes
too small for that (a lowest bit of an unlikely bin) are found by the checksums, all of which the
audit verifies as well.
"""

from __future__ import annotations

import logging
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from rangefinder.cache.fingerprint import cache_key
from rangefinder.cache.store import TeacherCache
from rangefinder.cache.sweep import Sweep
from rangefinder.captures.manifest import CaptureSet
from rangefinder.config import CacheParams, ComputeParams
from rangefinder.errors import AuditError
from rangefinder.models.io import TrainedModel

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Audit:
    """What an audit found.

    Attributes:
        photos: Photos looked at.
        patches: Patches compared, in all.
        largest_difference: Largest difference of the patch loop's probability from what the cache
            allows, over all patches and bins.
        worst_capture: The photo in which it was found.
        mean_kl_nat: Mean divergence of the cached distribution from the patch loop's.
        tolerance: What is allowed.
    """

    photos: int
    patches: int
    largest_difference: float
    worst_capture: str
    mean_kl_nat: float
    tolerance: float

    def require(self) -> None:
        """Refuse a cache that differs too much.

        Raises:
            AuditError: Naming the photo.
        """
        if self.largest_difference > self.tolerance:
            raise AuditError(
                "the teacher does not say what its cache says",
                got=f"a difference of {self.largest_difference:.2g} in probability beyond rounding"
                f" (capture {self.worst_capture})",
                expected=f"at most {self.tolerance:g}",
                todo="Remove the folder of the cache and run the patch_caching pipeline again.",
            )

    @property
    def summary(self) -> dict[str, Any]:
        """The numbers, and where the worst was found."""
        scores = asdict(self)
        return {"worst_capture": scores.pop("worst_capture"), "scores": {"cache_audit": scores}}


def audit_cache(
    teacher: TrainedModel,
    captures: CaptureSet,
    cache: TeacherCache,
    params: CacheParams,
    seed: int,
    compute: ComputeParams | None = None,
) -> Audit:
    """Verify every checksum, then ask the teacher again about random patches of random photos.

    Args:
        teacher: The teacher.
        captures: All captures.
        cache: Its cache.
        params: Size of the sample and tolerance.
        seed: Decides the sample.
        compute: Where to run.

    Returns:
        What was found; `require` it to refuse a bad cache.

    Raises:
        StaleCacheError: If the cache is of something else (naming what), or is damaged.
    """
    swept = captures.select(role="unlabelled", split="train")
    cache_key(teacher, swept).require(cache.key)
    ids = swept.table["capture_id"].tolist()
    for capture_id in tqdm(ids, "Verifying", unit="photo", disable=None, delay=2.0):
        cache.read(capture_id)
    rng = np.random.default_rng(seed)
    drawn = rng.choice(len(ids), min(params.audit_photos, len(ids)), replace=False)
    grid = cache.key.patch_px, cache.key.stride_px
    sweep = Sweep(teacher.network, swept.camera, params, *grid, compute)
    prediction = teacher.prediction
    patches, divergence, worst = 0, 0.0, (-1.0, "")
    for index in tqdm(drawn.tolist(), "Auditing", unit="photo", disable=None):
        packed = cache.read(ids[index]).flatten(0, 1)
        count = min(params.audit_patches, len(packed))
        cells = torch.from_numpy(rng.choice(len(packed), count, replace=False))
        loop = sweep.patch_loop(swept.image(index), swept.placement(index), cells).cpu()
        beyond = prediction.beyond_rounding(loop, packed[cells])
        worst = max(worst, (float(beyond.max()), ids[index]))
        divergence += float(_divergence(loop, prediction.unpack(packed[cells])).sum())
        patches += count
    found = Audit(len(drawn), patches, *worst, divergence / patches, params.audit_tolerance)
    log.info(
        "Audit of %d patches of %d photos: largest difference %.2g beyond rounding (at most %g), "
        "mean divergence by packing %.4f nat",
        found.patches,
        found.photos,
        found.largest_difference,
        found.tolerance,
        found.mean_kl_nat,
    )
    return found


def _divergence(probs: Tensor, cached: Tensor) -> Tensor:
    return (probs * (probs.clamp(min=1e-30) / cached).log()).sum(-1)
