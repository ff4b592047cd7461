"""Scenes made of charts, in which it is known where one thing ends and the next begins.

Where things end nobody tells a student: photos are not labelled, and a teacher's patches smear it.
But charts laid before each other (`occlusion`) are scenes whose borders are known. What else is
learned from them is on which side of a border a cell lies: how likely each distance is in scenes,
charts do not know.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from rangefinder.captures import images
from rangefinder.captures.manifest import CaptureSet
from rangefinder.captures.pixels import Pixels
from rangefinder.config import StudentParams
from rangefinder.location import PatchGrid, Placement, location_map
from rangefinder.models.student import Student
from rangefinder.training.charts import alike, relight
from rangefinder.training.data import mirror
from rangefinder.training.occlusion import Occlusion

THINGS = (4, 10)  # fewest and most charts before the farthest
KEEP_BYTES = 2**29  # memory for the scenes


class LaidCharts(Dataset[dict[str, Tensor]]):
    """Photos of charts, the nearer before the farther, as scenes are.

    Each is made when it is first asked for, and kept. They are shown mirrored at random if the lens
    allows it. Pixels beyond the last of the student's cells are cut off, so that cells lie at the
    same pixels in mirrored scenes.

    Args:
        charts: Those that have one distance each serve, if they are of the commonest size and place
            on the sensor.
        options: How many scenes are made; fewer if these do not fit into `KEEP_BYTES`. The side of
            those, if photos are cut into parts; they lie anywhere on the sensor.
        seed: Start of all randomness.
    """

    def __init__(self, charts: CaptureSet, options: StudentParams, seed: int) -> None:
        self.camera, self.seed = charts.camera, seed
        self.stride_px = int(Student.lattice.stride_px)
        self.pixels, self.occlude = Pixels(charts), Occlusion.of(charts)
        self.distance_m = charts.table["distance_m"].to_numpy(float)
        flat = charts.table["distance_map"].isna().to_numpy() & (self.distance_m > 0)
        self.charts = max(alike(self.pixels, flat.tolist()), key=len, default=[])
        self.scenes, self._kept = 0, dict[int, tuple[Tensor, Tensor, Placement]]()
        if len(self.charts) < 2:
            return
        whole_px = self.pixels.sizes[self.charts[0]]
        part_px = [min(side, options.crop_px or side) for side in whole_px]
        self.size = PatchGrid(part_px[0], part_px[1], 1, self.stride_px).covered_px
        self.room_px = [whole - part for whole, part in zip(whole_px, part_px, strict=True)]
        self.scenes = min(options.laid_charts, KEEP_BYTES // (6 * math.prod(self.size)))

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
        image, inverse_dpt, placement = self._kept[scene]
        item = {
            "image": image.movedim(-1, 0).float() / images.FULL_SCALE,
            "location": torch.from_numpy(location_map(self.camera, placement, *self.size)),
            "inverse_dpt": inverse_dpt,
        }
        rng = np.random.default_rng([self.seed, len(self), number])
        return mirror(item, rng) if self.camera.symmetric else item

    def _scene(self, rng: np.random.Generator) -> tuple[Tensor, Tensor, Placement]:
        """16-bit linear light `[H, W, 3]`, inverse distance of the cells [dpt], and the place."""
        things = min(int(rng.integers(THINGS[0], THINGS[1] + 1)), len(self.charts) - 1)
        chosen = rng.choice(self.charts, things + 1, replace=False)
        far, *nearer = chosen[np.argsort(-self.distance_m[chosen])].tolist()
        top, left = (int(rng.integers(room + 1)) for room in self.room_px)
        image = self._chart(far, top, left, rng)
        inverse_dpt = torch.full(self.size, 1 / self.distance_m[far], dtype=torch.float32)
        placement = self.pixels.placements[far].crop(left, top)
        for chart in nearer:
            near_dpt, before = 1 / self.distance_m[chart], self._chart(chart, top, left, rng)
            image, front = self.occlude(before, image, near_dpt, placement, rng)
            inverse_dpt[front >= 0.5] = near_dpt
        cells = inverse_dpt[:: self.stride_px, :: self.stride_px].clone()
        return torch.from_numpy(images.quantise(image)), cells, placement

    def _chart(self, index: int, top: int, left: int, rng: np.random.Generator) -> Tensor:
        return relight(self.pixels.crop(index, top, left, *self.size), rng)
