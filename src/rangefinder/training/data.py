"""Training data: photos, whole or in parts, with what is known of them."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset, Sampler

from rangefinder.captures.manifest import CaptureSet
from rangefinder.captures.pixels import Pixels
from rangefinder.location import PatchGrid, grid_location, location_map
from rangefinder.training.fading import Fading
from rangefinder.training.pooling import Lessons


def mirror(item: dict[str, Tensor], rng: np.random.Generator) -> dict[str, Tensor]:
    """Mirror at random along both axes: photo, places on the sensor, and targets if there are any.

    Only true for a rotationally symmetric lens, and for targets that reach equally far from
    opposite edges (see `PatchGrid.covered_px`).

    Args:
        item: image `[3, H, W]`, location `[2, h, w]`; perhaps inverse_dpt `[h, w]`; perhaps
            targets `[rows, cols, bytes]` and confidence `[rows, cols]`.
        rng: Source of chance.

    Returns:
        The same entries, mirrored alike.
    """
    for axis, component in ((2, 0), (1, 1)):
        if rng.random() < 0.5:
            continue
        location = item["location"].flip(axis).clone()
        location[component] *= -1
        item = item | {"image": item["image"].flip(axis), "location": location}
        for name in ("inverse_dpt", "targets", "confidence"):
            if name in item:
                item[name] = item[name].flip(axis - 1)
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
    """Photos with what the teacher said of them. Their distances are never read.

    Targets reach the photo's edges, where `Lessons` says what neighbours with a whole patch let
    expect. Photos come whole unless `crop_px` is given: then each comes as a random part that
    begins on the lattice of the cached grid, so image, places and targets are cut alike. Either
    way the few pixels beyond the last patch are cut off: then targets sit at the same pixels in
    mirrored photos, which are the student's own, and its answers need not be interpolated.

    Args:
        captures: Unlabelled captures.
        lessons: What to teach of each capture.
        patch_px: Side of the teacher's patch.
        stride_px: Stride of the cached grid.
        seed: Start of all randomness.
        crop_px: Side of the parts, or None. A photo that is smaller comes whole along that side.
        fading: Takes texture from what is shown, if any.
    """

    def __init__(
        self,
        captures: CaptureSet,
        lessons: Lessons,
        patch_px: int,
        stride_px: int,
        seed: int,
        crop_px: int | None = None,
        fading: Fading | None = None,
    ) -> None:
        self.captures, self.lessons = captures, lessons
        self.crop_px, self.fading = crop_px, fading
        self.patch_px, self.stride_px, self.seed = patch_px, stride_px, seed
        self.pixels = Pixels(captures)
        self.ids = captures.table["capture_id"].tolist()
        self.epoch = 0

    def __len__(self) -> int:
        """Number of photos."""
        return len(self.ids)

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        """One photo: image, location, packed targets, confidence, grid's y and x [image px]."""
        rng = np.random.default_rng([self.seed, self.epoch, index])
        top, left, height, width = self._window(index, rng)
        camera, placement = self.captures.camera, self.pixels.placements[index].crop(left, top)
        grid = PatchGrid(height, width, self.patch_px, self.stride_px).to_edges()
        row, col = top // self.stride_px, left // self.stride_px
        targets, confidence = (
            whole[row : row + grid.rows, col : col + grid.cols] for whole in self._lesson(index)
        )
        x, y = (torch.from_numpy(centre).float() for centre in grid.centres_px)
        item = {
            "image": self.pixels.crop(index, top, left, height, width),
            "location": torch.from_numpy(location_map(camera, placement, height, width)),
            "targets": targets,
            "confidence": confidence,
            "y_px": y,
            "x_px": x,
        }
        if camera.symmetric:
            item = mirror(item, rng)
        if self.fading is not None:
            item["image"] = self.fading(item["image"], rng)
        return item

    def _lesson(self, index: int) -> tuple[Tensor, Tensor]:
        """Packed targets and confidence on the whole photo's grid, gone on to its edges."""
        height, width = self.pixels.sizes[index]
        grid = PatchGrid(height, width, self.patch_px, self.stride_px)
        image = partial(self.pixels.crop, index, 0, 0, height, width)
        return self.lessons(self.ids[index], image, grid)

    def _window(self, index: int, rng: np.random.Generator) -> tuple[int, int, int, int]:
        """Top, left, height and width of the part to show [px]."""
        height, width = self.pixels.sizes[index]
        limit = self.crop_px or max(height, width)
        part = min(limit, height), min(limit, width)
        room = ((height - part[0]) // self.stride_px, (width - part[1]) // self.stride_px)
        top, left = (self.stride_px * int(rng.integers(steps + 1)) for steps in room)
        return top, left, *PatchGrid(*part, self.patch_px, self.stride_px).covered_px


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
