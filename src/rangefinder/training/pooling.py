"""What the teacher's answers around a place say together of the surface there.

One patch often cannot tell distances in front of the focus from those behind it, or shows nothing
at all, while its neighbours on the same surface can. The student sees the whole photo, so it is
taught the confidence-weighted mean of the teacher's distributions over neighbours of like colour
(the range kernel of the bilateral filter, Tomasi and Manduchi 1998, on blurred colours).
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


@dataclass(frozen=True)
class Pooled:
    """Targets of one photo's grid.

    Attributes:
        probs: `[rows, cols, bins]` distributions.
        confidence: `[rows, cols]` what the neighbourhood knows, 0 to 1.
    """

    probs: Tensor
    confidence: Tensor


class Lessons:
    """What the student is taught of each photo, worked out once and kept in its packed form.

    Args:
        targets: capture_id -> the teacher's packed predictions `[rows, cols, bytes]`.
        prediction: Packs and unpacks them.
        params: How neighbours are pooled; None: not at all.
    """

    def __init__(
        self,
        targets: Callable[[str], Tensor],
        prediction: Prediction,
        params: PoolingParams | None,
    ) -> None:
        self._targets, self._prediction, self._params = targets, prediction, params
        self._known: dict[str, tuple[Tensor, Tensor]] = {}

    def __call__(self, capture_id: str, image: Tensor, grid: PatchGrid) -> tuple[Tensor, Tensor]:
        """Packed targets `[rows, cols, bytes]` and confidence `[rows, cols]` of one photo."""
        if capture_id not in self._known:
            packed = self._targets(capture_id)
            probs = self._prediction.unpack(packed)
            if self._params is None:
                self._known[capture_id] = packed, self._prediction.information(probs)
            else:
                pooled = pool(probs, image, grid, self._prediction, self._params)
                self._known[capture_id] = self._prediction.pack(pooled.probs), pooled.confidence
        return self._known[capture_id]


def pool(
    probs: Tensor, image: Tensor, grid: PatchGrid, prediction: Prediction, params: PoolingParams
) -> Pooled:
    """Confidence-weighted mean of distributions over neighbours of like colour.

    Args:
        probs: `[rows, cols, bins]` the teacher's predictions on the grid.
        image: `[3, H, W]` the photo, linear light.
        grid: Where the predictions sit.
        prediction: Measures what a distribution knows.
        params: Reach, sharpness in colour, and weight of confidence.
    """
    weight = prediction.information(probs).pow(params.confidence_power)
    weighted = torch.cat([weight[..., None], weight[..., None] * probs], dim=-1).movedim(-1, 0)
    blocks, colour = _blocks(weighted), _blocks(cell_colour(image, grid))
    steps = max(1, params.reach_px // (BLOCK * STEP * grid.stride_px))
    offsets = [STEP * step for step in range(-steps, steps + 1)]
    total, count = torch.zeros_like(blocks), torch.zeros_like(blocks[0])
    rows, cols = blocks.shape[-2:]
    for down, right in product(offsets, repeat=2):
        if abs(down) >= rows or abs(right) >= cols:
            continue
        to, of = _overlap((rows, cols), down, right)
        unlike = (colour[:, *to] - colour[:, *of]).square().sum(0)
        alike = torch.exp(unlike / (-2 * params.colour_sd**2))
        total[:, *to] += alike * blocks[:, *of]
        count[to] += alike
    mean = total / count
    cells = mean.repeat_interleave(BLOCK, -2).repeat_interleave(BLOCK, -1)
    cells = cells[:, : grid.rows, : grid.cols].movedim(0, -1)
    known = cells[..., 0]
    return Pooled(cells[..., 1:] / known[..., None].clamp(min=1e-9), known)


def cell_colour(image: Tensor, grid: PatchGrid) -> Tensor:
    """Logarithm of light around each patch centre, `[3, rows, cols]`."""
    half = SMOOTHED_PX // 2
    log = torch.log(image + DARK)[None]
    smooth = F.avg_pool2d(log, SMOOTHED_PX, 1, half, count_include_pad=False)[0]
    x, y = (torch.from_numpy(centre).long() for centre in grid.centres_px)
    return smooth[:, y][:, :, x]


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
