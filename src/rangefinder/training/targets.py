"""Distillation targets: the teacher's posteriors, aggregated where they are uncertain.

At a photo's margin no whole patch fits, so there is no posterior of the teacher; elsewhere a single
patch often leaves the defocus sign ambiguous. Neighbours on the same surface may know. A cell's
target can therefore be the cross-bilateral aggregate of its neighbourhood (range kernel on blurred
colours: Tomasi and Manduchi, Bilateral filtering for gray and color images, 1998), combined with
its own posterior as a logarithmic opinion pool: at the margin always, elsewhere if asked for.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import product

import torch
from torch import Tensor
from torch.nn import functional as F

from rangefinder.config import AggregationParams
from rangefinder.coordinates import PatchGrid
from rangefinder.models.blocks import LOG_OFFSET
from rangefinder.models.distribution import DistanceDistribution

BLOCK = 2  # cells along each side that are averaged before neighbours are compared
STEP = 2  # blocks from one neighbour to the next
COLOUR_WINDOW_PX = 9  # side of the window that a cell's colour is averaged over
MIN_PROBABILITY = 1e-6  # before a power is taken


@dataclass(frozen=True)
class Targets:
    """Targets of one photo's grid."""

    probs: Tensor  # `[rows, cols, bins]` distributions
    negentropy: Tensor  # `[rows, cols]` of the teacher's posteriors in the neighbourhood, 0 to 1


class DistillationTargets:
    """Targets of each photo, computed once and kept in packed form.

    Args:
        predictions: capture_id -> the teacher's packed predictions `[rows, cols, bytes]`.
        distribution: Packs and unpacks them.
        params: How neighbours are aggregated; None: not at all.
        device: Where that is computed.
    """

    def __init__(
        self,
        predictions: Callable[[str], Tensor],
        distribution: DistanceDistribution,
        params: AggregationParams | None,
        device: torch.device | str = "cpu",
    ) -> None:
        self._predictions, self._distribution, self._params = predictions, distribution, params
        self._device = device
        self._known: dict[str, tuple[Tensor, Tensor]] = {}

    def __call__(
        self, capture_id: str, image: Callable[[], Tensor], grid: PatchGrid
    ) -> tuple[Tensor, Tensor]:
        """Packed targets `[rows, cols, bytes]` and their negentropy `[rows, cols]` of one photo.

        They are on the lattice `grid.to_edges()`. Where no whole patch fits, they come from
        neighbours alone; without any in reach, negentropy is 0.

        Args:
            capture_id: The photo.
            image: Reads it, `[3, H, W]` linear light.
            grid: The whole photo's patch grid.
        """
        if capture_id not in self._known:
            probs = self._distribution.unpack(self._predictions(capture_id).to(self._device))
            probs = _to_edges(probs, grid.margin_cells)
            if self._params is None:
                targets = Targets(probs, self._distribution.negentropy(probs))
            else:
                photo = image().to(self._device)
                targets = cross_bilateral_aggregate(
                    probs, photo, grid.to_edges(), self._distribution, self._params
                )
                if self._params.margin_only:
                    targets = self._plain_inside(targets, probs, grid.margin_cells)
            packed = self._distribution.pack(targets.probs).cpu()
            self._known[capture_id] = packed, targets.negentropy.cpu()
        return self._known[capture_id]

    def _plain_inside(self, targets: Targets, probs: Tensor, margin: int) -> Targets:
        """The teacher's own posteriors wherever there is a whole patch."""
        rows, cols = (slice(margin, size - margin) for size in probs.shape[:2])
        targets.probs[rows, cols] = probs[rows, cols]
        targets.negentropy[rows, cols] = self._distribution.negentropy(probs[rows, cols])
        return targets


def _to_edges(probs: Tensor, cells: int) -> Tensor:
    """`[rows, cols, bins]` with so many cells more on each side, of uniform distribution."""
    return F.pad(probs, (0, 0, cells, cells, cells, cells), value=1 / probs.shape[-1])


def cross_bilateral_aggregate(
    probs: Tensor,
    image: Tensor,
    grid: PatchGrid,
    distribution: DistanceDistribution,
    params: AggregationParams,
) -> Targets:
    """Each cell's posterior, pooled with those of neighbours of similar colour.

    target ~ own^unary_weight * ((1 - smoothing) * mean over neighbours + smoothing / bins), where a
    neighbour's weight is its negentropy to a power times the range kernel.

    Args:
        probs: `[rows, cols, bins]` the teacher's posteriors on the grid.
        image: `[3, H, W]` the photo, linear light.
        grid: Where the posteriors sit.
        distribution: Computes negentropy.
        params: Reach, range kernel, weights.
    """
    weights = range_weights(_blocks(cell_colour(image, grid)), grid.stride_px, params)
    mean, negentropy = _neighbour_mean(probs, weights, distribution, params)
    mean = torch.lerp(mean, torch.full_like(mean, 1 / distribution.bins), params.smoothing)
    pooled = probs.clamp(min=MIN_PROBABILITY).pow(params.unary_weight) * mean
    return Targets(pooled / pooled.sum(-1, keepdim=True), negentropy)


@dataclass(frozen=True)
class Neighbour:
    """Range-kernel weights between blocks and those a fixed offset away."""

    to: tuple[slice, slice]  # blocks that have such a neighbour
    of: tuple[slice, slice]  # those neighbours
    weight: Tensor  # `[r, c]` 0 to 1


def range_weights(colour: Tensor, stride_px: int, params: AggregationParams) -> list[Neighbour]:
    """Gaussian range kernel between blocks `[3, rows, cols]` [log of light] and neighbours."""
    steps = max(1, params.reach_px // (BLOCK * STEP * stride_px))
    offsets = [STEP * step for step in range(-steps, steps + 1)]
    rows, cols = colour.shape[1:]
    found = []
    for down, right in product(offsets, repeat=2):
        if abs(down) >= rows or abs(right) >= cols:
            continue
        to, of = _overlap((rows, cols), down, right)
        change = (colour[:, *to] - colour[:, *of]).square().sum(0)
        found.append(Neighbour(to, of, torch.exp(change / (-2 * params.colour_sd**2))))
    return found


def _neighbour_mean(
    probs: Tensor,
    neighbours: list[Neighbour],
    distribution: DistanceDistribution,
    params: AggregationParams,
) -> tuple[Tensor, Tensor]:
    """Weighted mean over neighbours `[rows, cols, bins]`, and their mean weight `[rows, cols]`."""
    weight = distribution.negentropy(probs).pow(params.negentropy_power)[..., None]
    blocks = _blocks(torch.cat([weight, weight * probs], dim=-1).movedim(-1, 0))
    total, count = torch.zeros_like(blocks), torch.zeros_like(blocks[0])
    for neighbour in neighbours:
        total[:, *neighbour.to].addcmul_(neighbour.weight, blocks[:, *neighbour.of])
        count[neighbour.to] += neighbour.weight
    cells = (total / count).repeat_interleave(BLOCK, -2).repeat_interleave(BLOCK, -1)
    cells = cells[:, : probs.shape[0], : probs.shape[1]].movedim(0, -1)
    negentropy = cells[..., 0]
    return cells[..., 1:] / negentropy[..., None].clamp(min=1e-9), negentropy


def cell_colour(image: Tensor, grid: PatchGrid) -> Tensor:
    """Log of light around each patch centre, `[3, rows, cols]`."""
    padded = F.pad(image[None], (COLOUR_WINDOW_PX // 2,) * 4, mode="replicate")
    left, top = (start + (grid.patch_px - 1) // 2 for start in grid.origin_px)
    around = torch.log(padded[:, :, top:, left:] + LOG_OFFSET)
    return F.avg_pool2d(around, COLOUR_WINDOW_PX, grid.stride_px)[0, :, : grid.rows, : grid.cols]


def _blocks(values: Tensor) -> Tensor:
    """Mean of blocks of cells, `[C, rows, cols]` -> `[C, ceil(rows / 2), ceil(cols / 2)]`."""
    return F.avg_pool2d(values[None], BLOCK, ceil_mode=True)[0]


def _overlap(
    size: tuple[int, int], down: int, right: int
) -> tuple[tuple[slice, slice], tuple[slice, slice]]:
    """Cells that have a neighbour at offset (down, right), and those neighbours."""
    to = tuple(slice(max(0, -s), n - max(0, s)) for n, s in zip(size, (down, right), strict=True))
    of = tuple(slice(max(0, s), n - max(0, -s)) for n, s in zip(size, (down, right), strict=True))
    return (to[0], to[1]), (of[0], of[1])
