"""Scenes made of charts, in which it is known where one thing ends and the next begins.

Where things end nobody tells a student: photos are not labelled, and a teacher's patches smear it.
But charts laid before each other (`occlusion`) are scenes whose borders are known. Only these are
learned from them: distances are as likely as scenes have them, of which charts know nothing.
"""

from __future__ import annotations

import math
from collections import Counter

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset

from rangefinder.captures import images
from rangefinder.captures.manifest import CaptureSet
from rangefinder.captures.pixels import Pixels
from rangefinder.location import PatchGrid, location_map
from rangefinder.training.charts import relight
from rangefinder.training.data import mirror
from rangefinder.training.occlusion import occlude

THINGS = (4, 10)  # fewest and most charts before the farthest
KEEP_BYTES = 2**29  # memory for the scenes


class LaidCharts(Dataset[dict[str, Tensor]]):
    """Whole photos of charts, the nearer before the farther, as scenes are.

    Each is made when it is first asked for, and kept. They are shown mirrored at random if the lens
    allows it.

    Args:
        captures: Those charts that have one distance each serve, if they are of the commonest size
            and place on the sensor.
        scenes: How many are made; fewer if these do not fit into `KEEP_BYTES`.
        patch_px: Side of the teacher's patch.
        stride_px: Stride of the student's cells.
        seed: Start of all randomness.
    """

    def __init__(
        self, captures: CaptureSet, scenes: int, patch_px: int, stride_px: int, seed: int
    ) -> None:
        self.camera, self.stride_px, self.seed = captures.camera, stride_px, seed
        self.pixels = Pixels(captures)
        self.distance_m = captures.table["distance_m"].to_numpy(float)
        self.charts = self._alike(captures)
        self.scenes, self._kept = 0, dict[int, tuple[Tensor, Tensor]]()
        if len(self.charts) < 2:
            return
        first = int(self.charts[0])
        self.placement = self.pixels.placements[first]
        self.size = PatchGrid(*self.pixels.sizes[first], patch_px, stride_px).covered_px
        self.scenes = min(scenes, KEEP_BYTES // (6 * math.prod(self.size)))

    def __len__(self) -> int:
        """Number of scenes; 0 where there are no two charts alike."""
        return self.scenes

    def __getitem__(self, number: int) -> dict[str, Tensor]:
        """Scene `number`, again and again: image `[3, H, W]`, location `[2, H, W]`, inverse_dpt.

        The last is `[rows, cols]` inverse distance at the student's cells [dpt].
        """
        scene = number % len(self)
        if scene not in self._kept:
            self._kept[scene] = self._scene(np.random.default_rng([self.seed, scene]))
        image, inverse_dpt = self._kept[scene]
        item = {
            "image": image.movedim(-1, 0).float() / images.FULL_SCALE,
            "location": torch.from_numpy(location_map(self.camera, self.placement, *self.size)),
            "inverse_dpt": inverse_dpt,
        }
        rng = np.random.default_rng([self.seed, len(self), number])
        return mirror(item, rng) if self.camera.symmetric else item

    def _alike(self, captures: CaptureSet) -> NDArray[np.int_]:
        flat = captures.table["distance_map"].isna().to_numpy() & (self.distance_m > 0)
        seats = list(zip(self.pixels.sizes, self.pixels.placements, strict=True))
        commonest = Counter(seats[i] for i in np.flatnonzero(flat)).most_common(1)
        kept = [i for i in np.flatnonzero(flat) if seats[i] in dict(commonest)]
        return np.array(kept, dtype=int)

    def _scene(self, rng: np.random.Generator) -> tuple[Tensor, Tensor]:
        """16-bit linear light `[H, W, 3]`, and inverse distance of the cells [dpt]."""
        things = min(int(rng.integers(THINGS[0], THINGS[1] + 1)), len(self.charts) - 1)
        chosen = rng.choice(self.charts, things + 1, replace=False)
        far, *nearer = chosen[np.argsort(-self.distance_m[chosen])]
        image = self._chart(far, rng)
        inverse_dpt = torch.full(self.size, 1 / self.distance_m[far], dtype=torch.float32)
        for chart in nearer:
            near_dpt = 1 / self.distance_m[chart]
            before, scale = self._chart(chart, rng), self.placement.scale
            image, front = occlude(self.camera, before, image, near_dpt, scale, rng)
            inverse_dpt[front >= 0.5] = near_dpt
        cells = inverse_dpt[:: self.stride_px, :: self.stride_px].clone()
        return torch.from_numpy(images.quantise(image)), cells

    def _chart(self, index: int, rng: np.random.Generator) -> Tensor:
        return relight(self.pixels.crop(int(index), 0, 0, *self.size), rng)
