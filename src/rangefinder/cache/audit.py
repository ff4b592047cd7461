"""The audit: a random sample of a teacher cache against the teacher's patch loop.

A cache holds rounded numbers: the code c (0..15) of a bin stands for every probability whose root,
relative to that of the likeliest bin, rounds to c / 15. The audit measures by how much the patch
loop's probability lies OUTSIDE that interval. Rounding alone gives 0 whatever the distribution, so
the tolerance can be as tight as that of the exactness check; another teacher, a grid off by one
cell or a changed code lie outside by the order of the difference they make. Smaller changes (a
lowest bit of an unlikely bin) are found by the checksums, all of which the audit verifies as well.
"""

from __future__ import annotations

import logging
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from rangefinder.cache.store import TeacherCache
from rangefinder.captures.manifest import CaptureSet
from rangefinder.config import CacheParams, ComputeParams
from rangefinder.errors import AuditError
from rangefinder.models.model_files import TrainedModel
from rangefinder.sweep.sweep import Sweep

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Audit:
    """Result of an audit.

    Attributes:
        largest_difference: Largest difference of the patch loop's probability beyond rounding, over
            all patches and bins.
    """

    photos: int  # photos in the sample
    patches: int  # patches compared, in all
    largest_difference: float
    worst_capture: str  # the photo in which it was found
    mean_kl_nat: float  # mean divergence of the cached distribution from the patch loop's [nat]
    tolerance: float  # largest difference allowed

    def require(self) -> None:
        """Raise `AuditError`, naming the photo, if the cache differs by more than is allowed."""
        if self.largest_difference > self.tolerance:
            raise AuditError(
                "the teacher's predictions differ from those in its cache",
                got=f"a difference of {self.largest_difference:.2g} in probability beyond rounding"
                f" (capture {self.worst_capture})",
                expected=f"at most {self.tolerance:g}",
                todo="Remove the folder of the cache and run the patch_caching pipeline again.",
            )

    @property
    def summary(self) -> dict[str, Any]:
        """For the report: `scores`, and `worst_capture`."""
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
    """Verify every checksum, then predict random patches of random photos again.

    The result's `require` raises for a bad cache.

    Raises:
        StaleCacheError: If the key differs (naming the field), or the cache is damaged.
    """
    swept = captures.select(role="unlabelled", split="train")
    cache.require(teacher, captures)
    ids = swept.table["capture_id"].tolist()
    for capture_id in tqdm(ids, "Verifying", unit="photo", disable=None, delay=2.0):
        cache.read(capture_id)
    rng = np.random.default_rng(seed)
    drawn = rng.choice(len(ids), min(params.audit_photos, len(ids)), replace=False)
    grid = cache.key.patch_px, cache.key.stride_px
    sweep = Sweep(teacher.network, swept.camera, params, *grid, compute)
    distribution = teacher.distribution
    patches, divergence, worst = 0, 0.0, (-1.0, "")
    for index in tqdm(drawn.tolist(), "Auditing", unit="photo", disable=None):
        packed = cache.read(ids[index]).flatten(0, 1)
        count = min(params.audit_patches, len(packed))
        cells = torch.from_numpy(rng.choice(len(packed), count, replace=False))
        loop = sweep.patch_loop(swept.image(index), swept.placement(index), cells).cpu()
        beyond = distribution.beyond_rounding(loop, packed[cells])
        worst = max(worst, (float(beyond.max()), ids[index]))
        divergence += float(_divergence(loop, distribution.unpack(packed[cells])).sum())
        patches += count
    result = Audit(len(drawn), patches, *worst, divergence / patches, params.audit_tolerance)
    log.info(
        "Audit of %d patches of %d photos: largest difference %.2g beyond rounding (at most %g), "
        "mean divergence by packing %.4f nat",
        result.patches,
        result.photos,
        result.largest_difference,
        result.tolerance,
        result.mean_kl_nat,
    )
    return result


def _divergence(probs: Tensor, cached: Tensor) -> Tensor:
    return (probs * (probs.clamp(min=1e-30) / cached).log()).sum(-1)
