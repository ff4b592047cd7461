"""What the teacher learns from: crops of charts, and of photos whose distances are known."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler

from rangefinder.captures.depth_edges import near_edges
from rangefinder.captures.manifest import CaptureSet
from rangefinder.captures.pixels import Pixels
from rangefinder.errors import CaptureError
from rangefinder.location import PatchGrid, grid_location
from rangefinder.training.data import mirror
from rangefinder.training.lots import Lots
from rangefinder.training.occlusion import Occlusion

_TRIES = 8  # draws of a crop until enough of its patches have a distance
_LEAST_KNOWN = 0.25  # share that is enough
GAIN_SD = 0.2  # logarithm of a crop's further gain, colour by colour
LEAST_EXPOSURE = 0.6  # of what a crop has


@dataclass(frozen=True)
class CropPlan:
    """How crops of charts are drawn.

    Attributes:
        crop_px: Side of a crop; what lies beyond its last patch is cut off.
        batch_size: Crops per batch.
        steps: Batches per epoch.
        seed: Start of all randomness.
        edge_step: Relative step of a distance map around which nothing is learned.
        edge_band_px: How far around.
        occluded_share: Crops of charts that a nearer chart hides a part of.
        relit: Show every crop under a light of its own.
        mapped_share: See `Lots`.
    """

    crop_px: int
    batch_size: int
    steps: int
    seed: int
    edge_step: float = 0.05
    edge_band_px: int = 8
    occluded_share: float = 0.0
    relit: bool = False
    mapped_share: float | None = None


class ChartCrops(Dataset[dict[str, Tensor]]):
    """Batches of crops of charts; one dense pass over a crop trains many patches.

    Captures with a distance map serve as well: each patch learns the distance at its centre, and
    none where that is unknown or close to a step in distance, which no single distance describes.

    Photos stay on disk and are read in parts. A batch depends on the seed and its number only,
    which goes on from epoch to epoch, so training that was resumed sees what it would have seen.

    Args:
        captures: Charts, each with its distance, and labelled captures, each with its map.
        plan: How crops are drawn.
        patch_px: Side of the teacher's patch.
        stride_px: The teacher's stride.
    """

    def __init__(self, captures: CaptureSet, plan: CropPlan, patch_px: int, stride_px: int) -> None:
        if len(captures) == 0:
            raise CaptureError(
                "there is nothing to train the teacher on",
                todo="Add captures of role 'chart' or 'labelled' to the training split.",
            )
        self.captures, self.plan, self.occlude = captures, plan, Occlusion.of(captures)
        self.grid = PatchGrid(plan.crop_px, plan.crop_px, patch_px, stride_px)
        self.crop_px, _ = self.grid.covered_px
        self.pixels = Pixels(captures)
        self.inverse_dpt = [learned_inverse_dpt(captures, i, plan) for i in range(len(captures))]
        self.lots = Lots(self.inverse_dpt, plan.mapped_share)
        self.others = self._alike()
        x, y = self.grid.centres_px
        self.centres = torch.from_numpy(y).long()[:, None], torch.from_numpy(x).long()[None]

    def __len__(self) -> int:
        """Batches per epoch."""
        return self.plan.steps

    def __getitem__(self, number: int) -> dict[str, Tensor]:
        """One batch: image `[N, 3, c, c]`, location `[N, 2, r, r]`, inverse_dpt `[N, r, r]`.

        An inverse distance of 0 stands for a patch that learns nothing.
        """
        rng = np.random.default_rng([self.plan.seed, *divmod(number, self.plan.steps)])
        charts = [self.lots.capture(rng) for _ in range(self.plan.batch_size)]
        crops = [self._crop(chart, rng) for chart in charts]
        return {name: torch.stack([crop[name] for crop in crops]) for name in crops[0]}

    def _crop(self, chart: int, rng: np.random.Generator) -> dict[str, Tensor]:
        size, (height, width) = self.crop_px, self.pixels.sizes[chart]
        for _ in range(_TRIES):
            top = int(rng.integers(height - size + 1))
            left = int(rng.integers(width - size + 1))
            inverse_dpt = self._cells(chart, top, left)
            if (inverse_dpt > 0).float().mean() >= _LEAST_KNOWN:
                break
        image = self.pixels.crop(chart, top, left, size, size)
        others = self.others[chart]
        if others and rng.random() < self.plan.occluded_share:
            pair = chart, self.lots.chart(others, rng)
            image, inverse_dpt = self._occluded(pair, top, left, rng)
        placement = self.pixels.placements[chart].crop(left, top)
        location = torch.from_numpy(grid_location(self.captures.camera, placement, self.grid))
        if self.plan.relit:
            image = relight(image, rng)
        item = {"image": image, "location": location, "inverse_dpt": inverse_dpt}
        return mirror(item, rng) if self.captures.camera.symmetric else item

    def _occluded(
        self, pair: tuple[int, int], top: int, left: int, rng: np.random.Generator
    ) -> tuple[Tensor, Tensor]:
        """Crop of two charts, the nearer before the farther, and what patch centres show."""
        far, near = sorted(pair, key=lambda chart: float(self.inverse_dpt[chart]))
        size, placement = self.crop_px, self.pixels.placements[near].crop(left, top)
        before, behind = (self.pixels.crop(i, top, left, size, size) for i in (near, far))
        near_dpt, far_dpt = self.inverse_dpt[near], self.inverse_dpt[far]
        image, front = self.occlude(before, behind, float(near_dpt), placement, rng)
        rows, cols = self.centres
        return image, torch.where(front[rows, cols] >= 0.5, near_dpt, far_dpt)

    def _alike(self) -> list[list[int]]:
        """For each flat chart: those of its size at its place of the sensor; else none."""
        others: list[list[int]] = [[] for _ in self.inverse_dpt]
        for group in alike(self.pixels, [known.ndim == 0 for known in self.inverse_dpt]):
            for chart in group:
                others[chart] = group
        return others

    def _cells(self, chart: int, top: int, left: int) -> Tensor:
        """Inverse distance at the patch centres of a crop `[r, r]` [dpt], 0 for none."""
        known = self.inverse_dpt[chart]
        rows, cols = self.centres
        if known.ndim == 0:
            return known.expand(rows.shape[0], cols.shape[1])
        return known[rows + top, cols + left]


def alike(pixels: Pixels, flat: Sequence[bool]) -> list[list[int]]:
    """Flat charts in groups of one size at one place of the sensor, as indices of pictures."""
    seats = list(zip(pixels.sizes, pixels.placements, strict=True))
    groups: dict[object, list[int]] = defaultdict(list)
    for chart in np.flatnonzero(flat).tolist():
        groups[seats[chart]].append(chart)
    return list(groups.values())


class EpochNumbers(Sampler[int]):
    """Numbers of an epoch's batches, drawn where the epoch is known: workers live through all.

    Args:
        steps: Batches per epoch.
    """

    def __init__(self, steps: int) -> None:
        self.steps, self.epoch = steps, 0

    def __len__(self) -> int:
        """Batches per epoch."""
        return self.steps

    def __iter__(self) -> Iterator[int]:
        """The epoch's numbers in order."""
        first = self.epoch * self.steps
        return iter(range(first, first + self.steps))


def crop_loader(
    crops: ChartCrops, numbers: EpochNumbers, workers: int = 0
) -> DataLoader[dict[str, Tensor]]:
    """Batches of an epoch's numbers, drawn by so many processes."""
    return DataLoader(
        crops, None, sampler=numbers, num_workers=workers, persistent_workers=workers > 0
    )


def relight(image: Tensor, rng: np.random.Generator) -> Tensor:
    """The same under another light: `[3, h, w]` linear light, which no blur depends on.

    Things whose colours were never seen together are then no surprise.
    """
    gains = np.exp(rng.normal(0, GAIN_SD, 3) + rng.uniform(math.log(LEAST_EXPOSURE), 0))
    return image * torch.from_numpy(gains).float()[:, None, None]


def learned_inverse_dpt(captures: CaptureSet, index: int, plan: CropPlan) -> Tensor:
    """What a capture teaches: one inverse distance, or one per pixel `[H, W]` [dpt], 0 for none."""
    row = captures.row(index)
    if row["distance_map"] is None:
        return torch.tensor(1.0 / row["distance_m"], dtype=torch.float32)
    distance_m = captures.distance_map(index)
    near = near_edges(distance_m.numpy(), plan.edge_step, plan.edge_band_px)
    usable = (distance_m > 0) & ~torch.from_numpy(near)
    return torch.where(usable, 1.0 / distance_m, 0.0)
