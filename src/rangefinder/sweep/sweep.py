"""The sweep: exact sliding-window inference of the teacher over a photo, at any stride.

By dense passes where an exactness check on real patches of the photos at hand finds them equal to
the patch loop; by the patch loop otherwise.
"""

from __future__ import annotations

import logging
import timeit
from collections.abc import Callable, Iterator, Sequence
from functools import cached_property
from typing import TypeVar

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from rangefinder.camera import Camera
from rangefinder.config import CacheParams, ComputeParams
from rangefinder.coordinates import PatchGrid, Placement, grid_location
from rangefinder.models.blocks import fused
from rangefinder.models.device import torch_device
from rangefinder.sweep.dense import Tile, assemble, dense_pass, passes, tiles_of

VERSION = 2  # of the code that cuts and predicts; part of every cache key
LOOP_SLOWDOWN = 2.0  # small patches run at about half the rate of an image, measured on a CPU
MIN_SPEEDUP = 1.2  # of a variant; less is noise, and the choice should be the same every time
Forward = Callable[[Tensor, Tensor], Tensor]
Run = Callable[[Tensor, Placement], Tensor]
Variant = TypeVar("Variant")
log = logging.getLogger(__name__)


class Sweep:
    """Runs one teacher over the patch grid of photos.

    Args:
        network: Patch network; logits `[N, bins, rows, cols]`, or `[N, bins]` for single patches.
            Its attribute `stride_px` is the stride of its dense pass, if it has one.
        camera: The camera of the photos.
        params: Batch size of the loop, size of tiles, size and tolerance of the exactness check.
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

    def grid(self, image: Tensor) -> PatchGrid:
        """The patch grid of an image `[3, H, W]`."""
        return PatchGrid(image.shape[1], image.shape[2], self.patch_px, self.stride_px)

    def __call__(self, image: Tensor, placement: Placement) -> Tensor:
        """Predict every patch.

        Args:
            image: `[3, H, W]` linear light.
            placement: Where it sits on the sensor.

        Returns:
            `[rows, cols, bins]` probabilities.

        Raises:
            CaptureError: If the image is smaller than one patch.
        """
        self.prepare(image, placement)
        run = self._dense_tile if self._by_dense_pass else self.patch_loop
        return self._by_tiles(run, image, placement)

    def dense_pass(self, image: Tensor, placement: Placement) -> Tensor:
        """The network on whole tiles at once, `[rows, cols, bins]`.

        Raises:
            ModelError: If the network's output is on another lattice than its patches.
        """
        return self._by_tiles(self._dense_tile, image, placement)

    @torch.inference_mode()
    def patch_loop(
        self, image: Tensor, placement: Placement, cells: Tensor | None = None
    ) -> Tensor:
        """The network on one patch after the other (in batches).

        Args:
            image: `[3, H, W]`.
            placement: Where it sits on the sensor.
            cells: `[K]` flat indices of patches; None: all.

        Returns:
            `[rows, cols, bins]`, or `[K, bins]` for given cells.
        """
        grid = self.grid(image)
        indices = torch.arange(grid.rows * grid.cols) if cells is None else cells
        location = self._locate(placement, grid).flatten(1)
        outputs = [
            self._predict(patches, location[:, part].T[:, :, None, None])[:, 0, 0]
            for part, patches in self._batches(image, grid, indices)
        ]
        probs = torch.cat(outputs)
        return probs.reshape(grid.rows, grid.cols, -1) if cells is None else probs

    def largest_difference(self, image: Tensor, placement: Placement) -> float:
        """Largest difference [probability] of the dense pass to the loop on random patches.

        They are of one tile, which is the whole image if that is small. A network that cannot take
        more than a patch, or whose output is on another lattice, differs by 1.
        """
        return self._difference(*self._sample(image, placement))

    def prepare(self, image: Tensor, placement: Placement) -> None:
        """Exactness check on a photo, once; on a GPU also the choice of the fastest variant."""
        if self.dense is not None:
            return
        pixels, placement = self._sample(image, placement)
        self.dense = self._difference(pixels, placement) <= self.params.tolerance
        if self.device.type != "cuda":
            return
        grid = self.grid(pixels)
        cells = torch.arange(min(self.params.patch_batch, grid.rows * grid.cols))

        def run(variant: Forward) -> Tensor:
            self._forward = variant
            if self._by_dense_pass:
                return self._dense_tile(pixels, placement)
            return self.patch_loop(pixels, placement, cells)

        self._forward = fastest(gpu_variants(self.network), run, self.params.gpu_tolerance)

    def _sample(self, image: Tensor, placement: Placement) -> tuple[Tensor, Placement]:
        """A random tile's pixels, and where they sit on the sensor."""
        tiles = list(tiles_of(self.grid(image), self.params.tile_px))
        tile = tiles[int(np.random.default_rng(len(tiles)).integers(len(tiles)))]
        return _crop(tile, image, placement)

    def _difference(self, pixels: Tensor, placement: Placement) -> float:
        try:
            dense = self._dense_tile(pixels, placement).flatten(0, 1)
        except Exception as exc:  # whatever a custom teacher raises on more than a patch
            log.info("No dense pass: %s", exc)
            return 1.0
        rng = np.random.default_rng(len(dense))
        count = min(self.params.check_patches, len(dense))
        cells = torch.from_numpy(rng.choice(len(dense), count, replace=False))
        return float((dense[cells] - self.patch_loop(pixels, placement, cells)).abs().max())

    def _by_tiles(self, run: Run, image: Tensor, placement: Placement) -> Tensor:
        """Run on tile after tile, which bounds the memory of the network's features."""
        grid = self.grid(image)
        parts = (
            (tile.rows, tile.cols, run(*_crop(tile, image, placement)))
            for tile in tiles_of(grid, self.params.tile_px)
        )
        return assemble(grid, parts)

    @property
    def _by_dense_pass(self) -> bool:
        return bool(self.dense) and not self._loop_is_cheaper

    @cached_property
    def _loop_is_cheaper(self) -> bool:
        """Whether a dense pass drops so many outputs that the loop has less to do."""
        _, keep = passes(self.stride_px, self.native_px)
        if keep == 1:
            return False
        side = 32
        per_output = self._multiply_adds(side) / side**2
        return LOOP_SLOWDOWN * self._multiply_adds(1) < keep**2 * per_output

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
        """Images `[N, 3, h, w]`, locations `[N, 2, r, c]` -> probabilities `[N, r, c, bins]`."""
        logits = self._forward(images.to(self.device), location.to(self.device))
        if logits.dim() == 2:
            logits = logits[:, :, None, None]
        return torch.softmax(logits.movedim(1, -1).float(), dim=-1).cpu()

    def _locate(self, placement: Placement, grid: PatchGrid) -> Tensor:
        return torch.from_numpy(grid_location(self.camera, placement, grid))

    def _batches(
        self, image: Tensor, grid: PatchGrid, cells: Tensor
    ) -> Iterator[tuple[Tensor, Tensor]]:
        size, step = grid.patch_px, grid.stride_px
        windows = image.unfold(1, size, step).unfold(2, size, step)
        for part in torch.split(cells, self.params.patch_batch):
            patches = windows[:, part // grid.cols, part % grid.cols].movedim(0, 1)
            yield part, patches.contiguous(memory_format=torch.channels_last)


def _crop(tile: Tile, image: Tensor, placement: Placement) -> tuple[Tensor, Placement]:
    return image[:, tile.y_px, tile.x_px], placement.crop(tile.x_px.start, tile.y_px.start)


def float32(network: nn.Module) -> Forward:
    """The network in true float32 (no TensorFloat-32), as the exactness check requires."""

    def forward(images: Tensor, location: Tensor) -> Tensor:
        with torch.backends.cudnn.flags(enabled=True, allow_tf32=False):
            return network(images, location)  # type: ignore[no-any-return]

    return forward


def bfloat16(network: nn.Module) -> Forward:
    """The network under automatic mixed precision."""

    def forward(images: Tensor, location: Tensor) -> Tensor:
        with torch.autocast(images.device.type, torch.bfloat16):
            return network(images, location)  # type: ignore[no-any-return]

    return forward


def gpu_variants(network: nn.Module) -> list[Forward]:
    """Variants of a network's forward pass on a GPU, the exact one first."""
    low = bfloat16(network)
    return [float32(network), low, torch.compile(low, dynamic=True)]


def fastest(
    variants: Sequence[Variant], run: Callable[[Variant], Tensor], tolerance: float
) -> Variant:
    """The fastest variant whose outputs are close to those of the first.

    Args:
        variants: The exact one first.
        run: Outputs of a variant on a sample; they must be on the CPU, so that a GPU is awaited.
        tolerance: Largest difference allowed.

    Returns:
        One of the variants; the first where no other is close enough and clearly faster.
    """

    def seconds(variant: Variant) -> float:
        return min(timeit.repeat(lambda: run(variant), number=1))

    best, *others = variants
    exact, best_s = run(best), seconds(best)
    for variant in others:
        if float((run(variant) - exact).abs().max()) > tolerance:
            continue
        variant_s = seconds(variant)
        if variant_s * MIN_SPEEDUP < best_s:
            best, best_s = variant, variant_s
    return best
