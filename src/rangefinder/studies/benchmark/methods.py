"""The benchmark's methods: patch loop, MONAI's sliding window, dense pass, student."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from itertools import islice
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from rangefinder.camera import Camera
from rangefinder.captures.manifest import CaptureSet
from rangefinder.config import Parameters
from rangefinder.coordinates import PatchGrid, Placement, grid_location
from rangefinder.inference.interface import DISTANCE_ONLY
from rangefinder.inference.predictor import Predictor
from rangefinder.models.model_files import TrainedModel
from rangefinder.sweep.sweep import Sweep

HOW_TO_GET = "MONAI is not installed (pip install 'rangefinder[bench]')"
Size = tuple[int, int]


def has_monai() -> bool:
    """Whether MONAI can be imported."""
    return find_spec("monai") is not None


@dataclass(frozen=True)
class Method:
    """One way from a photo to distances, ready to be timed."""

    run: Callable[[], Any]  # does the work once and returns the predictions
    scale: float = 1.0  # the whole work / that of `run`; other than 1 where `run` does a sample
    cells: Tensor | None = None  # `[K]` flat indices of the patches of the sample


class MethodFactory:
    """Builds methods from two trained models and the first capture, brought to any size."""

    def __init__(
        self, teacher: TrainedModel, student: TrainedModel, captures: CaptureSet, params: Parameters
    ) -> None:
        self.teacher, self.camera, self.params = teacher, captures.camera, params
        self._photo = captures.image(0)
        self._student = Predictor(student, params.compute.device)

    def photo(self, size: Size) -> tuple[Tensor, Placement]:
        """The photo, tiled by reflection to `size` (width, height), and its placement."""
        width, height = size
        rows = _reflected(self._photo.shape[1], height)
        cols = _reflected(self._photo.shape[2], width)
        scale = min(1.0, self.camera.width_px / width, self.camera.height_px / height)
        return self._photo[:, rows][:, :, cols].contiguous(), Placement(scale=scale)

    def grid(self, size: Size, stride_px: int) -> PatchGrid:
        """The patch grid of a photo of that size."""
        return PatchGrid(size[1], size[0], self.teacher.card.patch_px, stride_px)

    def sweep(self, stride_px: int, batch: int | None = None) -> Sweep:
        """The teacher at any stride."""
        options = self.params.cache
        if batch is not None:
            options = options.model_copy(update={"patch_batch": batch})
        card, compute = self.teacher.card, self.params.compute
        return Sweep(self.teacher.network, self.camera, options, card.patch_px, stride_px, compute)

    def dense(self, size: Size, stride_px: int) -> Method | None:
        """The dense pass; None where it fails the exactness check."""
        sweep, (image, placement) = self.sweep(stride_px), self.photo(size)
        if sweep.largest_difference(image, placement) > self.params.cache.tolerance:
            return None
        if sweep.device.type == "cuda":
            sweep(image, placement)  # chooses the fastest variant
        return Method(lambda: sweep.dense_pass(image, placement))

    def student(self, size: Size) -> Method:
        """The student, with a distance at every pixel; at scale 1, so that nothing is resized."""
        image, _ = self.photo(size)
        return Method(lambda: self._student(image, Placement(), DISTANCE_ONLY).distance_m)

    def patch_loop(self, size: Size, stride_px: int, batch: int, sample: int | None) -> Method:
        """The patch loop over all patches, or over a random sample of them."""
        sweep, (image, placement) = self.sweep(stride_px, batch), self.photo(size)
        grid = self.grid(size, stride_px)
        total = grid.rows * grid.cols
        if sample is None or sample >= total:
            return Method(lambda: sweep.patch_loop(image, placement))
        rng = np.random.default_rng(self.params.seed)
        cells = torch.from_numpy(rng.choice(total, sample, replace=False))
        return Method(lambda: sweep.patch_loop(image, placement, cells), total / sample, cells)

    def monai(self, size: Size, stride_px: int, batch: int, sample: int | None) -> Method:
        """MONAI's splitter over all patches, or over a random block of them."""
        network = self.sweep(stride_px).network
        loop = _monai_loop(network, self.camera, self.teacher.card.patch_px, stride_px, batch)
        image, placement = self.photo(size)
        grid = self.grid(size, stride_px)
        if sample is None or sample >= grid.rows * grid.cols:
            return Method(lambda: loop(image, placement))
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
        return Method(lambda: loop(part, place), index.numel() / cells.numel(), cells)


def _monai_loop(
    network: nn.Module, camera: Camera, patch_px: int, stride_px: int, batch: int
) -> Callable[[Tensor, Placement], Tensor]:
    """Patches by MONAI's sliding-window splitter, then the network on batches of them.

    Args:
        network: The teacher, ready for inference.
        camera: The camera of the photos.
        patch_px: Side of a patch.
        stride_px: Stride of the grid; for MONAI an overlap of patch - stride whole pixels.
        batch: Patches per batch.

    Returns:
        Function from a photo `[3, H, W]` and its placement to `[rows, cols, bins]` probabilities.
    """
    from monai.inferers.splitter import SlidingWindowSplitter

    splitter = SlidingWindowSplitter(patch_px, overlap=patch_px - stride_px, pad_mode=None)
    device = next(network.parameters()).device

    @torch.inference_mode()
    def run(image: Tensor, placement: Placement) -> Tensor:
        grid = PatchGrid(image.shape[1], image.shape[2], patch_px, stride_px)
        locations = torch.from_numpy(grid_location(camera, placement, grid))

        def outputs() -> Iterator[Tensor]:
            windows = iter(splitter(image[None].to(device)))
            while pairs := list(islice(windows, batch)):
                patches = torch.cat([patch for patch, _ in pairs])
                cells = [(int(y) // stride_px, int(x) // stride_px) for _, (y, x) in pairs]
                rows, cols = torch.tensor(cells).T
                location = locations[:, rows, cols].T[:, :, None, None].to(device)
                batch_ = patches.contiguous(memory_format=torch.channels_last)
                yield torch.softmax(network(batch_, location).float(), dim=1)[:, :, 0, 0].cpu()

        return torch.cat(list(outputs())).reshape(grid.rows, grid.cols, -1)

    return run


def _reflected(size: int, length: int) -> Tensor:
    """Indices 0, 1, ..., size - 1, size - 1, ..., 0, 0, ... `[length]`."""
    place = torch.arange(length) % (2 * size)
    return torch.minimum(place, 2 * size - 1 - place)


def _block(grid: PatchGrid, sample: int) -> tuple[int, int]:
    """Rows and columns of a block of at least `sample` patches, as square as the grid allows."""
    rows = min(grid.rows, math.ceil(math.sqrt(sample)))
    cols = min(grid.cols, math.ceil(sample / rows))
    return min(grid.rows, math.ceil(sample / cols)), cols
