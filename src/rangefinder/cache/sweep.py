"""The sweep: the teacher's prediction for every local area of a photo.

One dense pass where it is proven equal to the patch-by-patch loop on real patches of the photos at
hand; the loop otherwise.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor, nn

from rangefinder.camera import Camera
from rangefinder.config import CacheParams
from rangefinder.location import PatchGrid, Placement, grid_location
from rangefinder.models.layers import fused

VERSION = 1  # of the code that cuts and predicts; part of every cache's key


class Sweep:
    """Runs one teacher over the patch grid of photos.

    Args:
        network: Patch network; logits `[N, bins, rows, cols]`.
        camera: The camera of the photos.
        params: Batch size of the loop, size and tolerance of the check.
        patch_px: Side of a patch [px].
        stride_px: Stride of the grid [px].
    """

    def __init__(
        self, network: nn.Module, camera: Camera, params: CacheParams, patch_px: int, stride_px: int
    ) -> None:
        self.network = fused(network)
        self.camera, self.params = camera, params
        self.patch_px, self.stride_px = patch_px, stride_px
        self.dense: bool | None = None

    def grid(self, image: Tensor) -> PatchGrid:
        """The lattice of patches of an image `[3, H, W]`."""
        return PatchGrid(image.shape[1], image.shape[2], self.patch_px, self.stride_px)

    def __call__(self, image: Tensor, placement: Placement) -> Tensor:
        """Predict every local area.

        Args:
            image: `[3, H, W]` linear light.
            placement: Where it sits on the sensor.

        Returns:
            `[rows, cols, bins]` probabilities.

        Raises:
            CaptureError: If the image is smaller than one patch.
        """
        if self.dense is None:
            self.dense = self.largest_difference(image, placement) <= self.params.tolerance
        return (self.dense_pass if self.dense else self.patch_loop)(image, placement)

    @torch.inference_mode()
    def dense_pass(self, image: Tensor, placement: Placement) -> Tensor:
        """The network on the whole image at once, `[rows, cols, bins]`."""
        location = self._location(image, placement)
        batch = image[None].contiguous(memory_format=torch.channels_last)
        return _probabilities(self.network(batch, location[None]))[0]

    @torch.inference_mode()
    def patch_loop(
        self, image: Tensor, placement: Placement, cells: Tensor | None = None
    ) -> Tensor:
        """The network on one patch after the other (in batches).

        Args:
            image: `[3, H, W]`.
            placement: Where it sits on the sensor.
            cells: `[K]` flat indices of the patches wanted; None: all.

        Returns:
            `[rows, cols, bins]`, or `[K, bins]` for given cells.
        """
        grid = self.grid(image)
        wanted = torch.arange(grid.rows * grid.cols) if cells is None else cells
        location = self._location(image, placement).flatten(1)
        outputs = [
            _probabilities(self.network(patches, location[:, part].T[:, :, None, None]))[:, 0, 0]
            for part, patches in self._batches(image, grid, wanted)
        ]
        probs = torch.cat(outputs)
        return probs.reshape(grid.rows, grid.cols, -1) if cells is None else probs

    def largest_difference(self, image: Tensor, placement: Placement) -> float:
        """Largest difference [probability] of the dense pass to the loop on random patches.

        A network that cannot take more than a patch, or answers on another lattice, differs by 1.
        """
        grid = self.grid(image)
        rng = np.random.default_rng(grid.rows * grid.cols)
        count = min(self.params.check_patches, grid.rows * grid.cols)
        cells = torch.from_numpy(rng.choice(grid.rows * grid.cols, count, replace=False))
        try:
            dense = self.dense_pass(image, placement)
        except (RuntimeError, ValueError):
            return 1.0
        if dense.shape[:2] != (grid.rows, grid.cols):
            return 1.0
        loop = self.patch_loop(image, placement, cells)
        return float((dense.flatten(0, 1)[cells] - loop).abs().max())

    def _location(self, image: Tensor, placement: Placement) -> Tensor:
        return torch.from_numpy(grid_location(self.camera, placement, self.grid(image)))

    def _batches(
        self, image: Tensor, grid: PatchGrid, cells: Tensor
    ) -> Iterator[tuple[Tensor, Tensor]]:
        size, step = grid.patch_px, grid.stride_px
        windows = image.unfold(1, size, step).unfold(2, size, step)
        for part in torch.split(cells, self.params.patch_batch):
            patches = windows[:, part // grid.cols, part % grid.cols].movedim(0, 1)
            yield part, patches.contiguous(memory_format=torch.channels_last)


def _probabilities(logits: Tensor) -> Tensor:
    return torch.softmax(logits.float(), dim=1).movedim(1, -1)
