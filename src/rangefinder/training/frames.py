"""Training and validation photos: labelled frames, unlabelled frames with targets, batching."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset, Sampler

from rangefinder.captures.manifest import CaptureSet
from rangefinder.captures.pixels import Pixels
from rangefinder.coordinates import PatchGrid, grid_location, location_map
from rangefinder.training.augmentation import ContrastAttenuation, mirror
from rangefinder.training.targets import DistillationTargets

Batch = dict[str, Tensor]


class LabelledFrames(Dataset[dict[str, Tensor]]):
    """Whole photos with the true distance at every centre of a patch grid, for validation."""

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


def quarter(batch: Batch, number: int) -> Batch:
    """One of the four quarters, of whole patches, of a batch of labelled frames.

    Args:
        batch: See `LabelledFrames`, batched.
        number: 0 top left, 1 top right, 2 bottom left, 3 bottom right.
    """
    (rows, height), (cols, width) = (
        _half(batch[name][0], far) for name, far in (("y_px", number // 2), ("x_px", number % 2))
    )
    return {
        "image": batch["image"][..., height, width],
        "grid_location": batch["grid_location"][..., rows, cols],
        "location": batch["location"][..., height, width],
        "y_px": batch["y_px"][:, rows] - height.start,
        "x_px": batch["x_px"][:, cols] - width.start,
        "inverse_dpt": batch["inverse_dpt"][..., rows, cols],
    }


def _half(centres_px: Tensor, far: int) -> tuple[slice, slice]:
    """The nearer or farther half of patches along an axis, and the pixels that they cover."""
    count = len(centres_px) - len(centres_px) // 2
    cells = slice(len(centres_px) - count, len(centres_px)) if far else slice(0, count)
    half_patch_px, centres_of_part_px = centres_px[0], centres_px[cells]
    first, last = centres_of_part_px[0] - half_patch_px, centres_of_part_px[-1] + half_patch_px
    return cells, slice(round(float(first)), round(float(last)))


class UnlabelledFrames(Dataset[dict[str, Tensor]]):
    """Unlabelled photos with distillation targets. Their distances are never read.

    Targets reach the photo's edges (see `DistillationTargets`). Photos are whole, or random crops
    on the lattice of the cached grid, so that image, location map and targets are cut alike. The
    few pixels beyond the last patch are cut off: so targets sit on the student's own cells in
    mirrored photos too, and its logits need no interpolation.

    Args:
        captures: Unlabelled captures.
        targets: Computes the targets of each.
        patch_px: Side of the teacher's patch.
        stride_px: Stride of the cached grid.
        seed: Of all randomness.
        crop_px: Side of the crops, or None; smaller photos are not cropped along that side.
        attenuation: Contrast attenuation of the input, if any.
    """

    def __init__(
        self,
        captures: CaptureSet,
        targets: DistillationTargets,
        patch_px: int,
        stride_px: int,
        seed: int,
        crop_px: int | None = None,
        attenuation: ContrastAttenuation | None = None,
    ) -> None:
        self.captures, self.targets = captures, targets
        self.crop_px, self.attenuation = crop_px, attenuation
        self.patch_px, self.stride_px, self.seed = patch_px, stride_px, seed
        self.pixels = Pixels(captures)
        self.ids = captures.table["capture_id"].tolist()
        self.epoch = 0

    def __len__(self) -> int:
        """Number of photos."""
        return len(self.ids)

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        """One photo: image, location, packed targets, negentropy, grid's y and x [image px]."""
        rng = np.random.default_rng([self.seed, self.epoch, index])
        top, left, height, width = self._window(index, rng)
        camera, placement = self.captures.camera, self.pixels.placements[index].crop(left, top)
        grid = PatchGrid(height, width, self.patch_px, self.stride_px).to_edges()
        row, col = top // self.stride_px, left // self.stride_px
        targets, negentropy = (
            whole[row : row + grid.rows, col : col + grid.cols] for whole in self._targets(index)
        )
        x, y = (torch.from_numpy(centre).float() for centre in grid.centres_px)
        item = {
            "image": self.pixels.crop(index, top, left, height, width),
            "location": torch.from_numpy(location_map(camera, placement, height, width)),
            "targets": targets,
            "negentropy": negentropy,
            "y_px": y,
            "x_px": x,
        }
        if camera.symmetric:
            item = mirror(item, rng)
        if self.attenuation is not None:
            item["image"] = self.attenuation(item["image"], rng)
        return item

    def _targets(self, index: int) -> tuple[Tensor, Tensor]:
        """Packed targets and negentropy on the whole photo's grid, extended to its edges."""
        height, width = self.pixels.sizes[index]
        grid = PatchGrid(height, width, self.patch_px, self.stride_px)
        image = partial(self.pixels.crop, index, 0, 0, height, width)
        return self.targets(self.ids[index], image, grid)

    def _window(self, index: int, rng: np.random.Generator) -> tuple[int, int, int, int]:
        """Top, left, height and width of the crop [px]."""
        height, width = self.pixels.sizes[index]
        limit = self.crop_px or max(height, width)
        part = min(limit, height), min(limit, width)
        room = ((height - part[0]) // self.stride_px, (width - part[1]) // self.stride_px)
        top, left = (self.stride_px * int(rng.integers(steps + 1)) for steps in room)
        return top, left, *PatchGrid(*part, self.patch_px, self.stride_px).covered_px


class SameSizeBatches(Sampler[list[int]]):
    """Shuffled batches of photos that have the same size."""

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
