"""Training data: crops of charts for the teacher, whole photos for the student."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset, Sampler

from rangefinder.captures.depth_edges import near_edges
from rangefinder.captures.manifest import CaptureSet
from rangefinder.errors import CaptureError
from rangefinder.location import PatchGrid, grid_location, location_map
from rangefinder.training.pooling import Lessons

FULL_SCALE = 65535.0
_TRIES = 8  # draws of a crop until enough of its patches have a distance
_LEAST_KNOWN = 0.25  # share that is enough


@dataclass(frozen=True)
class CropPlan:
    """How crops of charts are drawn.

    Attributes:
        crop_px: Side of a crop.
        batch_size: Crops per batch.
        steps: Batches per epoch.
        seed: Start of all randomness.
        edge_step: Relative step of a distance map around which nothing is learned.
        edge_band_px: How far around.
    """

    crop_px: int
    batch_size: int
    steps: int
    seed: int
    edge_step: float = 0.05
    edge_band_px: int = 8


class ChartCrops(Dataset[dict[str, Tensor]]):
    """Batches of crops of charts; one dense pass over a crop trains many patches.

    Captures with a distance map serve as well: each patch learns the distance at its centre, and
    none where that is unknown or close to a step in distance, which no single distance describes.

    Photos stay in memory as 16-bit integers. A batch depends on the seed, the epoch and its number
    only, so training that was resumed sees what it would have seen.

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
        self.captures, self.plan = captures, plan
        self.grid = PatchGrid(plan.crop_px, plan.crop_px, patch_px, stride_px)
        count = range(len(captures))
        self.images = [_as_uint16(captures.image(i)) for i in count]
        self.placements = [captures.placement(i) for i in count]
        self.inverse_dpt = [learned_inverse_dpt(captures, i, plan) for i in count]
        x, y = self.grid.centres_px
        self.centres = torch.from_numpy(y).long()[:, None], torch.from_numpy(x).long()[None]
        self.epoch = 0

    def __len__(self) -> int:
        """Batches per epoch."""
        return self.plan.steps

    def __getitem__(self, step: int) -> dict[str, Tensor]:
        """One batch: image `[N, 3, c, c]`, location `[N, 2, r, r]`, inverse_dpt `[N, r, r]`.

        An inverse distance of 0 stands for a patch that learns nothing.
        """
        rng = np.random.default_rng([self.plan.seed, self.epoch, step])
        charts = rng.integers(len(self.images), size=self.plan.batch_size)
        crops = [self._crop(int(chart), rng) for chart in charts]
        return {name: torch.stack([crop[name] for crop in crops]) for name in crops[0]}

    def _crop(self, chart: int, rng: np.random.Generator) -> dict[str, Tensor]:
        size, image = self.plan.crop_px, self.images[chart]
        for _ in range(_TRIES):
            top = int(rng.integers(image.shape[1] - size + 1))
            left = int(rng.integers(image.shape[2] - size + 1))
            inverse_dpt = self._cells(chart, top, left)
            if (inverse_dpt > 0).float().mean() >= _LEAST_KNOWN:
                break
        crop = image[:, top : top + size, left : left + size].float() / FULL_SCALE
        placement = self.placements[chart].crop(left, top)
        location = torch.from_numpy(grid_location(self.captures.camera, placement, self.grid))
        item = {"image": crop, "location": location, "inverse_dpt": inverse_dpt}
        return mirror(item, rng) if self.captures.camera.symmetric else item

    def _cells(self, chart: int, top: int, left: int) -> Tensor:
        """Inverse distance at the patch centres of a crop `[r, r]` [dpt], 0 for none."""
        known = self.inverse_dpt[chart]
        rows, cols = self.centres
        if known.ndim == 0:
            return known.expand(rows.shape[0], cols.shape[1])
        return known[rows + top, cols + left]


def learned_inverse_dpt(captures: CaptureSet, index: int, plan: CropPlan) -> Tensor:
    """What a capture teaches: one inverse distance, or one per pixel `[H, W]` [dpt], 0 for none."""
    row = captures.row(index)
    if row["distance_map"] is None:
        return torch.tensor(1.0 / row["distance_m"], dtype=torch.float32)
    distance_m = captures.distance_map(index)
    near = near_edges(distance_m.numpy(), plan.edge_step, plan.edge_band_px)
    usable = (distance_m > 0) & ~torch.from_numpy(near)
    return torch.where(usable, 1.0 / distance_m, 0.0)


def mirror(item: dict[str, Tensor], rng: np.random.Generator) -> dict[str, Tensor]:
    """Mirror at random along both axes: photo, places on the sensor, and targets if there are any.

    Only true for a rotationally symmetric lens.

    Args:
        item: image `[3, H, W]`, location `[2, h, w]`; perhaps inverse_dpt `[h, w]`; perhaps
            targets `[rows, cols, bytes]` and confidence `[rows, cols]`, with the image columns
            x_px `[cols]` and rows y_px `[rows]` of their centres.
        rng: Source of chance.

    Returns:
        The same entries, mirrored alike.
    """
    height, width = item["image"].shape[1:]
    for axis, component, centres, size in ((2, 0, "x_px", width), (1, 1, "y_px", height)):
        if rng.random() < 0.5:
            continue
        location = item["location"].flip(axis).clone()
        location[component] *= -1
        item = item | {"image": item["image"].flip(axis), "location": location}
        if "inverse_dpt" in item:
            item["inverse_dpt"] = item["inverse_dpt"].flip(axis - 1)
        if "targets" in item:
            item["targets"] = item["targets"].flip(axis - 1)
            item["confidence"] = item["confidence"].flip(axis - 1)
            item[centres] = (size - item[centres]).flip(0)
    return item


class LabelledFrames(Dataset[dict[str, Tensor]]):
    """Whole photos with the true distance at every patch centre, for validation.

    Args:
        captures: Charts or labelled captures.
        patch_px: Side of the teacher's patch.
        stride_px: The teacher's stride.
    """

    def __init__(self, captures: CaptureSet, patch_px: int, stride_px: int) -> None:
        self.captures, self.patch_px, self.stride_px = captures, patch_px, stride_px

    def __len__(self) -> int:
        """Number of photos."""
        return len(self.captures)

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        """One photo: image, grid_location, location, grid's y and x, inverse_dpt (0 = unknown)."""
        image = self.captures.image(index)
        height, width = image.shape[1:]
        grid = PatchGrid(height, width, self.patch_px, self.stride_px)
        camera, placement = self.captures.camera, self.captures.placement(index)
        x, y = (torch.from_numpy(centre).float() for centre in grid.centres_px)
        distance_m = self.captures.distance_map(index)[y.long()][:, x.long()]
        return {
            "image": image,
            "grid_location": torch.from_numpy(grid_location(camera, placement, grid)),
            "location": torch.from_numpy(location_map(camera, placement, height, width)),
            "y_px": y,
            "x_px": x,
            "inverse_dpt": torch.where(distance_m > 0, 1.0 / distance_m, 0.0),
        }


class UnlabelledFrames(Dataset[dict[str, Tensor]]):
    """Whole photos with what the teacher said of them. Their distances are never read.

    Args:
        captures: Unlabelled captures.
        lessons: What to teach of each capture.
        patch_px: Side of the teacher's patch.
        stride_px: Stride of the cached grid.
        seed: Start of all randomness.
    """

    def __init__(
        self,
        captures: CaptureSet,
        lessons: Lessons,
        patch_px: int,
        stride_px: int,
        seed: int,
    ) -> None:
        self.captures, self.lessons = captures, lessons
        self.patch_px, self.stride_px, self.seed = patch_px, stride_px, seed
        self.ids = captures.table["capture_id"].tolist()
        self.epoch = 0

    def __len__(self) -> int:
        """Number of photos."""
        return len(self.ids)

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        """One photo: image, location, packed targets, confidence, grid's y and x [image px]."""
        image = self.captures.image(index)
        height, width = image.shape[1:]
        camera, placement = self.captures.camera, self.captures.placement(index)
        location = torch.from_numpy(location_map(camera, placement, height, width))
        grid = PatchGrid(height, width, self.patch_px, self.stride_px)
        targets, confidence = self.lessons(self.ids[index], image, grid)
        x, y = (torch.from_numpy(centre).float() for centre in grid.centres_px)
        item = {"image": image, "location": location, "y_px": y, "x_px": x}
        item |= {"targets": targets, "confidence": confidence}
        if camera.symmetric:
            rng = np.random.default_rng([self.seed, self.epoch, index])
            item = mirror(item, rng)
        return item


class SameSizeBatches(Sampler[list[int]]):
    """Shuffled batches of photos that have the same size.

    Args:
        captures: Where sizes stand.
        batch_size: Photos per batch.
        seed: Start of all randomness.
    """

    def __init__(self, captures: CaptureSet, batch_size: int, seed: int) -> None:
        table = captures.table.reset_index(drop=True)
        self.groups = list(table.groupby(["height_px", "width_px"]).indices.values())
        self.batch_size, self.seed, self.epoch = batch_size, seed, 0

    def __len__(self) -> int:
        """Batches per epoch."""
        return sum(-(-len(group) // self.batch_size) for group in self.groups)

    def __iter__(self) -> Iterator[list[int]]:
        """Batches in random order."""
        rng = np.random.default_rng([self.seed, self.epoch])
        batches = []
        for group in self.groups:
            order = rng.permutation(group)
            starts = range(0, len(order), self.batch_size)
            batches += [order[start : start + self.batch_size].tolist() for start in starts]
        for index in rng.permutation(len(batches)):
            yield batches[index]


def _as_uint16(image: Tensor) -> Tensor:
    return (image * FULL_SCALE).round().to(torch.uint16)
