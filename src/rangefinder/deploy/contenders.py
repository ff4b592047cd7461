"""Four ways from a photo to distances, ready to be timed side by side."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from rangefinder.cache.sweep import Sweep
from rangefinder.captures.manifest import CaptureSet
from rangefinder.config import Parameters
from rangefinder.deploy.fast import fast_ranger
from rangefinder.deploy.splitter import monai_loop
from rangefinder.location import PatchGrid, Placement
from rangefinder.models.device import torch_device
from rangefinder.models.io import TrainedModel

Size = tuple[int, int]


@dataclass(frozen=True)
class Contender:
    """Something to time.

    Attributes:
        run: Does the work once and returns what came out.
        scale: The whole work / what `run` does; other than 1 where it does a sample.
        cells: `[K]` flat indices of the patches that `run` answers, where it does a sample.
    """

    run: Callable[[], Any]
    scale: float = 1.0
    cells: Tensor | None = None


class Contenders:
    """Makes contenders of two trained models and a real photo brought to any size.

    Args:
        teacher: The teacher.
        student: The student.
        captures: Where the photo is from.
        params: All parameters.
    """

    def __init__(
        self, teacher: TrainedModel, student: TrainedModel, captures: CaptureSet, params: Parameters
    ) -> None:
        self.teacher, self.camera, self.params = teacher, captures.camera, params
        self._photo = captures.image(0)
        self._student = fast_ranger(
            student, captures.camera, device=torch_device(params.compute.device)
        )

    def photo(self, size: Size) -> tuple[Tensor, Placement]:
        """The photo, mirrored on and on until it is `size` (width, height); its place."""
        width, height = size
        camera = self.camera
        rows = _mirrored(self._photo.shape[1], height)
        cols = _mirrored(self._photo.shape[2], width)
        scale = min(1.0, camera.width_px / width, camera.height_px / height)
        return self._photo[:, rows][:, :, cols].contiguous(), Placement(scale=scale)

    def grid(self, size: Size, stride_px: int) -> PatchGrid:
        """The patches of a photo of that size."""
        return PatchGrid(size[1], size[0], self.teacher.card.patch_px, stride_px)

    def sweep(self, stride_px: int, batch: int | None = None) -> Sweep:
        """The teacher at any stride."""
        options = self.params.cache
        if batch is not None:
            options = options.model_copy(update={"patch_batch": batch})
        card, compute = self.teacher.card, self.params.compute
        return Sweep(self.teacher.network, self.camera, options, card.patch_px, stride_px, compute)

    def dense(self, size: Size, stride_px: int) -> Contender | None:
        """The dense pass; None where it does not equal the patch loop."""
        sweep, (image, placement) = self.sweep(stride_px), self.photo(size)
        if sweep.largest_difference(image, placement) > self.params.cache.tolerance:
            return None
        if sweep.device.type == "cuda":
            sweep(image, placement)  # finds the fastest way to run there
        return Contender(lambda: sweep.dense_pass(image, placement))

    def student(self, size: Size) -> Contender:
        """The student, with a distance at every pixel."""
        image, placement = self.photo(size)
        return Contender(lambda: self._student(image, placement))

    def patch_loop(self, size: Size, stride_px: int, batch: int, sample: int | None) -> Contender:
        """The patch loop over all patches, or over a random sample of them."""
        sweep, (image, placement) = self.sweep(stride_px, batch), self.photo(size)
        grid = self.grid(size, stride_px)
        total = grid.rows * grid.cols
        if sample is None or sample >= total:
            return Contender(lambda: sweep.patch_loop(image, placement))
        rng = np.random.default_rng(self.params.seed)
        cells = torch.from_numpy(rng.choice(total, sample, replace=False))
        return Contender(lambda: sweep.patch_loop(image, placement, cells), total / sample, cells)

    def monai(self, size: Size, stride_px: int, batch: int, sample: int | None) -> Contender:
        """MONAI's splitter over all patches, or over a block of them at a random place."""
        network = self.sweep(stride_px).network
        loop = monai_loop(network, self.camera, self.teacher.card.patch_px, stride_px, batch)
        image, placement = self.photo(size)
        grid = self.grid(size, stride_px)
        if sample is None or sample >= grid.rows * grid.cols:
            return Contender(lambda: loop(image, placement))
        rng = np.random.default_rng(self.params.seed)
        rows, cols = _block(grid, sample)
        row = int(rng.integers(grid.rows - rows + 1))
        col = int(rng.integers(grid.cols - cols + 1))
        top, left = row * stride_px, col * stride_px
        height = grid.patch_px + (rows - 1) * stride_px
        width = grid.patch_px + (cols - 1) * stride_px
        part = image[:, top : top + height, left : left + width]
        index = torch.arange(grid.rows * grid.cols).reshape(grid.rows, grid.cols)
        cells = index[row : row + rows, col : col + cols].flatten()
        place = placement.crop(left, top)
        return Contender(lambda: loop(part, place), index.numel() / cells.numel(), cells)


def _mirrored(size: int, wanted: int) -> Tensor:
    """Indices 0, 1, ..., size - 1, size - 1, ..., 0, 0, ... `[wanted]`."""
    place = torch.arange(wanted) % (2 * size)
    return torch.minimum(place, 2 * size - 1 - place)


def _block(grid: PatchGrid, sample: int) -> tuple[int, int]:
    """Rows and columns of a block of at least `sample` patches, as square as the grid allows."""
    rows = min(grid.rows, math.ceil(math.sqrt(sample)))
    cols = min(grid.cols, math.ceil(sample / rows))
    return min(grid.rows, math.ceil(sample / cols)), cols
