"""The sweep: the teacher's prediction for every local area of a photo, at any stride.

Dense passes where they are proven equal to the patch-by-patch loop on real patches of the photos at
hand; the loop otherwise.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator
from functools import cached_property

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from rangefinder.cache.dense import dense_pass, passes
from rangefinder.cache.gpu import Forward, fastest, float32, ways_on_gpu
from rangefinder.cache.tiles import Pixels, Tile, tiles_of
from rangefinder.camera import Camera
from rangefinder.config import CacheParams, ComputeParams
from rangefinder.location import PatchGrid, Placement, grid_location
from rangefinder.models.device import torch_device
from rangefinder.models.layers import fused

VERSION = 2  # of the code that cuts and predicts; part of every cache's key
LOOP_SLOWDOWN = 2.0  # small patches run at about half the rate of an image, measured on a CPU
log = logging.getLogger(__name__)


class Sweep:
    """Runs one teacher over the patch grid of photos.

    Args:
        network: Patch network; logits `[N, bins, rows, cols]`, or `[N, bins]` for single patches.
            Its attribute `stride_px` is the stride of its dense pass, if it has one.
        camera: The camera of the photos.
        params: Batch size of the loop, size of tiles, size and tolerance of the check.
        patch_px: Side of a patch [px].
        stride_px: Stride of the grid [px], any whole number.
        compute: Where to run.

    Attributes:
        dense: Whether dense passes equal the patch loop; None before the first photo.
    """

    def __init__(
        self,
        network: nn.Module,
        camera: Camera,
        params: CacheParams,
        patch_px: int,
        stride_px: int,
        compute: ComputeParams | None = None,
    ) -> None:
        self.device = torch_device((compute or ComputeParams()).device)
        self.network = fused(network).to(self.device)
        gpu = self.device.type == "cuda"
        self._forward: Forward = float32(self.network) if gpu else self.network
        self.camera, self.params = camera, params
        self.patch_px, self.stride_px = patch_px, stride_px
        self.native_px = int(getattr(network, "stride_px", stride_px))
        self.dense: bool | None = None

    def grid(self, image: Pixels) -> PatchGrid:
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
        return self._joined(image, self.by_tiles(image, placement))

    def by_tiles(self, image: Pixels, placement: Placement) -> Iterator[tuple[Tile, Tensor]]:
        """Predict every local area, tile by tile: memory does not grow with the image.

        Args:
            image: `[3, H, W]` linear light, of which only a tile is read at a time.
            placement: Where it sits on the sensor.

        Yields:
            A tile and its probabilities `[rows, cols, bins]`.
        """
        self.settle(image, placement)
        run = self._dense_tile if self._by_dense_pass else self.patch_loop
        for tile in self.tiles(image):
            yield tile, run(tile.read(image), placement.crop(tile.left, tile.top))

    def tiles(self, image: Pixels) -> list[Tile]:
        """The tiles that an image is swept in."""
        return list(tiles_of(self.grid(image), self.params.tile_px))

    def dense_pass(self, image: Tensor, placement: Placement) -> Tensor:
        """The network on whole tiles at once, `[rows, cols, bins]`.

        Raises:
            ModelError: If the network answers on another lattice than its patches'.
        """
        tiles = self.tiles(image)
        places = (placement.crop(tile.left, tile.top) for tile in tiles)
        outputs = (self._dense_tile(t.read(image), p) for t, p in zip(tiles, places, strict=True))
        return self._joined(image, zip(tiles, outputs, strict=True))

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
        location = self._locate(placement, grid).flatten(1)
        outputs = [
            self._predict(patches, location[:, part].T[:, :, None, None])[:, 0, 0]
            for part, patches in self._batches(image, grid, wanted)
        ]
        probs = torch.cat(outputs)
        return probs.reshape(grid.rows, grid.cols, -1) if cells is None else probs

    def largest_difference(self, image: Pixels, placement: Placement) -> float:
        """Largest difference [probability] of the dense pass to the loop on random patches.

        They are taken from one tile, which is the whole image if that is small. A network that
        cannot take more than a patch, or answers on another lattice, differs by 1.
        """
        return self._check(*self._sample(image, placement))

    def _check(self, pixels: Tensor, placement: Placement) -> float:
        try:
            dense = self._dense_tile(pixels, placement).flatten(0, 1)
        except Exception as exc:  # whatever a network of the user's raises when it sees an image
            log.info("No dense pass: %s", exc)
            return 1.0
        rng = np.random.default_rng(len(dense))
        count = min(self.params.check_patches, len(dense))
        cells = torch.from_numpy(rng.choice(len(dense), count, replace=False))
        return float((dense[cells] - self.patch_loop(pixels, placement, cells)).abs().max())

    def _sample(self, image: Pixels, placement: Placement) -> tuple[Tensor, Placement]:
        tiles = self.tiles(image)
        tile = tiles[int(np.random.default_rng(len(tiles)).integers(len(tiles)))]
        return tile.read(image), placement.crop(tile.left, tile.top)

    def settle(self, image: Pixels, placement: Placement) -> None:
        """Find out on a photo, once: is the network dense, and how does it run best?"""
        if self.dense is not None:
            return
        pixels, placement = self._sample(image, placement)
        self.dense = self._check(pixels, placement) <= self.params.tolerance
        if self.device.type != "cuda":
            return
        grid = self.grid(pixels)
        cells = torch.arange(min(self.params.patch_batch, grid.rows * grid.cols))

        def trial(way: Forward) -> Tensor:
            self._forward = way
            if self._by_dense_pass:
                return self._dense_tile(pixels, placement)
            return self.patch_loop(pixels, placement, cells)

        self._forward = fastest(ways_on_gpu(self.network), trial, self.params.gpu_tolerance)

    @property
    def _by_dense_pass(self) -> bool:
        return bool(self.dense) and not self._loop_is_cheaper

    @cached_property
    def _loop_is_cheaper(self) -> bool:
        """Whether a dense pass throws so many answers away that the loop has less to do."""
        _, keep = passes(self.stride_px, self.native_px)
        if keep == 1:
            return False
        side = 32
        per_answer = self._multiply_adds(side) / side**2
        return LOOP_SLOWDOWN * self._multiply_adds(1) < keep**2 * per_answer

    @torch.inference_mode()
    def _multiply_adds(self, side: int) -> float:
        size = self.patch_px + self.native_px * (side - 1)
        with FlopCounterMode(display=False) as counter:
            self._predict(torch.zeros(1, 3, size, size), torch.zeros(1, 2, side, side))
        return float(counter.get_total_flops()) / 2

    @torch.inference_mode()
    def _dense_tile(self, image: Tensor, placement: Placement) -> Tensor:
        def locate(grid: PatchGrid) -> Tensor:
            return self._locate(placement, grid)

        return dense_pass(self._predict, locate, image, self.grid(image), self.native_px)

    def _predict(self, images: Tensor, location: Tensor) -> Tensor:
        """Images `[N, 3, h, w]` at places `[N, 2, r, c]` -> probabilities `[N, r, c, bins]`."""
        logits = self._forward(images.to(self.device), location.to(self.device))
        if logits.dim() == 2:
            logits = logits[:, :, None, None]
        return torch.softmax(logits.movedim(1, -1).float(), dim=-1).cpu()

    def _locate(self, placement: Placement, grid: PatchGrid) -> Tensor:
        return torch.from_numpy(grid_location(self.camera, placement, grid))

    def _joined(self, image: Pixels, parts: Iterable[tuple[Tile, Tensor]]) -> Tensor:
        grid, whole = self.grid(image), None
        for tile, probs in parts:
            if probs.shape[:2] == (grid.rows, grid.cols):
                return probs
            if whole is None:
                whole = probs.new_empty(grid.rows, grid.cols, probs.shape[2])
            whole[tile.rows, tile.cols] = probs
        assert whole is not None
        return whole

    def _batches(
        self, image: Tensor, grid: PatchGrid, cells: Tensor
    ) -> Iterator[tuple[Tensor, Tensor]]:
        size, step = grid.patch_px, grid.stride_px
        windows = image.unfold(1, size, step).unfold(2, size, step)
        for part in torch.split(cells, self.params.patch_batch):
            patches = windows[:, part // grid.cols, part % grid.cols].movedim(0, 1)
            yield part, patches.contiguous(memory_format=torch.channels_last)
