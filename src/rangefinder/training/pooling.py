"""What the teacher's answers around a place say together of the surface there.

Near a photo's edges no whole patch fits, so the teacher says nothing there, and elsewhere one patch
often cannot tell distances in front of the focus from those behind it. But its neighbours on the
same surface may know. So cells can be taught what their own distribution and the confidence-weighed
mean over neighbours of like colour (the range kernel of the bilateral filter, Tomasi and Manduchi
1998, on blurred colours) say together: those at the edges always, all others if asked for.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import product

import torch
from torch import Tensor
from torch.nn import functional as F

from rangefinder.config import PoolingParams
from rangefinder.location import PatchGrid
from rangefinder.models.layers import DARK
from rangefinder.models.prediction import Prediction

BLOCK = 2  # cells along each side that are merged before neighbours are compared
STEP = 2  # blocks from one neighbour to the next
SMOOTHED_PX = 9  # side of the window that a cell's colour is averaged over
LEAST = 1e-6  # probability that counts as none


@dataclass(frozen=True)
class Pooled:
    """Targets of one photo's grid.

    Attributes:
        probs: `[rows, cols, bins]` distributions.
        confidence: `[rows, cols]` what the teacher knows in the neighbourhood, 0 to 1.
    """

    probs: Tensor
    confidence: Tensor


class Lessons:
    """What the student is taught of each photo, worked out once and kept in its packed form.

    Args:
        targets: capture_id -> the teacher's packed predictions `[rows, cols, bytes]`.
        prediction: Packs and unpacks them.
        params: How neighbours are pooled; None: not at all.
        device: Where that is worked out.
    """

    def __init__(
        self,
        targets: Callable[[str], Tensor],
        prediction: Prediction,
        params: PoolingParams | None,
        device: torch.device | str = "cpu",
    ) -> None:
        self._targets, self._prediction, self._params = targets, prediction, params
        self._device = device
        self._known: dict[str, tuple[Tensor, Tensor]] = {}

    def __call__(
        self, capture_id: str, image: Callable[[], Tensor], grid: PatchGrid
    ) -> tuple[Tensor, Tensor]:
        """Packed targets `[rows, cols, bytes]` and confidence `[rows, cols]` of one photo.

        They are on the lattice `grid.to_edges()`. Where no whole patch fits, only neighbours have a
        say; where nobody has, confidence is 0.

        Args:
            capture_id: The photo.
            image: Reads it, `[3, H, W]` linear light.
            grid: The whole photo's grid of patches.
        """
        if capture_id not in self._known:
            probs = self._prediction.unpack(self._targets(capture_id).to(self._device))
            probs = _to_edges(probs, grid.margin_cells)
            if self._params is None:
                lesson = Pooled(probs, self._prediction.information(probs))
            else:
                photo = image().to(self._device)
                lesson = pool(probs, photo, grid.to_edges(), self._prediction, self._params)
                if self._params.edges_only:
                    lesson = self._own_inside(lesson, probs, grid.margin_cells)
            packed = self._prediction.pack(lesson.probs).cpu()
            self._known[capture_id] = packed, lesson.confidence.cpu()
        return self._known[capture_id]

    def _own_inside(self, pooled: Pooled, probs: Tensor, margin: int) -> Pooled:
        """The teacher's own answers wherever there is a whole patch."""
        rows, cols = (slice(margin, size - margin) for size in probs.shape[:2])
        pooled.probs[rows, cols] = probs[rows, cols]
        pooled.confidence[rows, cols] = self._prediction.information(probs[rows, cols])
        return pooled


def _to_edges(probs: Tensor, cells: int) -> Tensor:
    """`[rows, cols, bins]` with so many cells more on each side, which know nothing."""
    return F.pad(probs, (0, 0, cells, cells, cells, cells), value=1 / probs.shape[-1])


def pool(
    probs: Tensor, image: Tensor, grid: PatchGrid, prediction: Prediction, params: PoolingParams
) -> Pooled:
    """What each cell's patch and its neighbours of like colour say together.

    Neighbours say the confidence-weighted mean of their distributions, of which a small part stays
    open. It is multiplied with the cell's own distribution to a power (a logarithmic opinion pool).

    Args:
        probs: `[rows, cols, bins]` the teacher's predictions on the grid.
        image: `[3, H, W]` the photo, linear light.
        grid: Where the predictions sit.
        prediction: Measures what a distribution knows.
        params: Reach, sharpness in colour, weights.
    """
    alike = likeness(_blocks(cell_colour(image, grid)), grid.stride_px, params)
    said, confidence = _neighbours(probs, alike, prediction, params)
    said = torch.lerp(said, torch.full_like(said, 1 / prediction.bins), params.open_share)
    belief = probs.clamp(min=LEAST).pow(params.own_power) * said
    return Pooled(belief / belief.sum(-1, keepdim=True), confidence)


@dataclass(frozen=True)
class Neighbour:
    """How much blocks and those a fixed step away look alike.

    Attributes:
        to: Blocks that have such a neighbour.
        of: Those neighbours.
        alike: `[r, c]` 0 to 1.
    """

    to: tuple[slice, slice]
    of: tuple[slice, slice]
    alike: Tensor


def likeness(colour: Tensor, stride_px: int, params: PoolingParams) -> list[Neighbour]:
    """Likeness of blocks to their neighbours.

    Args:
        colour: `[3, rows, cols]` logarithm of light of each block.
        stride_px: Pixels from one cell to the next.
        params: Reach and sharpness in colour.
    """
    steps = max(1, params.reach_px // (BLOCK * STEP * stride_px))
    offsets = [STEP * step for step in range(-steps, steps + 1)]
    rows, cols = colour.shape[1:]
    found = []
    for down, right in product(offsets, repeat=2):
        if abs(down) >= rows or abs(right) >= cols:
            continue
        to, of = _overlap((rows, cols), down, right)
        unlike = (colour[:, *to] - colour[:, *of]).square().sum(0)
        found.append(Neighbour(to, of, torch.exp(unlike / (-2 * params.colour_sd**2))))
    return found


def _neighbours(
    probs: Tensor, alike: list[Neighbour], prediction: Prediction, params: PoolingParams
) -> tuple[Tensor, Tensor]:
    """Mean over neighbours `[rows, cols, bins]`, and how sure they are `[rows, cols]`."""
    weight = prediction.information(probs).pow(params.confidence_power)[..., None]
    blocks = _blocks(torch.cat([weight, weight * probs], dim=-1).movedim(-1, 0))
    total, count = torch.zeros_like(blocks), torch.zeros_like(blocks[0])
    for neighbour in alike:
        total[:, *neighbour.to].addcmul_(neighbour.alike, blocks[:, *neighbour.of])
        count[neighbour.to] += neighbour.alike
    cells = (total / count).repeat_interleave(BLOCK, -2).repeat_interleave(BLOCK, -1)
    cells = cells[:, : probs.shape[0], : probs.shape[1]].movedim(0, -1)
    known = cells[..., 0]
    return cells[..., 1:] / known[..., None].clamp(min=1e-9), known


def cell_colour(image: Tensor, grid: PatchGrid) -> Tensor:
    """Logarithm of light around each patch centre, `[3, rows, cols]`."""
    padded = F.pad(image[None], (SMOOTHED_PX // 2,) * 4, mode="replicate")
    left, top = (start + (grid.patch_px - 1) // 2 for start in grid.origin_px)
    around = torch.log(padded[:, :, top:, left:] + DARK)
    return F.avg_pool2d(around, SMOOTHED_PX, grid.stride_px)[0, :, : grid.rows, : grid.cols]


def _blocks(values: Tensor) -> Tensor:
    """Mean of blocks of cells, `[C, rows, cols]` -> `[C, ceil(rows / 2), ceil(cols / 2)]`."""
    return F.avg_pool2d(values[None], BLOCK, ceil_mode=True)[0]


def _overlap(
    size: tuple[int, int], down: int, right: int
) -> tuple[tuple[slice, slice], tuple[slice, slice]]:
    """Cells that have a neighbour (down, right) of them, and those neighbours."""
    to = tuple(slice(max(0, -s), n - max(0, s)) for n, s in zip(size, (down, right), strict=True))
    of = tuple(slice(max(0, s), n - max(0, -s)) for n, s in zip(size, (down, right), strict=True))
    return (to[0], to[1]), (of[0], of[1])
