"""Neighbours that look alike answer together.

Cells of one surface have one distance, or nearly, but each answers for itself, and is too sure of
itself where two surfaces meet. A bilateral filter (Tomasi and Manduchi 1998), along one axis after
the other (Pham and van Vliet 2005), sums the distributions of like-coloured neighbours. What it
mixes are probabilities: where neighbours differ, both distances stay possible.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from rangefinder.models.layers import log_light

STEPS = (4, 8)  # cells to the neighbours that are asked, each way along each axis
LEAST = 1e-12  # probability that counts as none
WINDOW_PX = 4  # side of the window that a cell's colour is averaged over


def agreed(probs: Tensor, colour: Tensor, colour_sd: float) -> Tensor:
    """Distributions of cells and their neighbours, weighted by how much alike they look.

    Args:
        probs: `[N, rows, cols, bins]`.
        colour: `[N, rows, cols, 3]` logarithm of light.
        colour_sd: Difference in that by which a neighbour counts exp(-1/2).

    Returns:
        The same shape as `probs`, up to a factor for each cell.
    """
    for axis in (1, 2):
        probs = _along(axis, probs, colour, colour_sd)
    return probs


def _along(axis: int, probs: Tensor, colour: Tensor, colour_sd: float) -> Tensor:
    total = probs.clone()
    for step in STEPS:
        pairs = probs.shape[axis] - step
        if pairs < 1:
            continue
        unlike = colour.narrow(axis, step, pairs) - colour.narrow(axis, 0, pairs)
        alike = torch.exp(unlike.square().sum(-1, keepdim=True) / (-2 * colour_sd**2))
        for here, there in ((0, step), (step, 0)):
            total.narrow(axis, here, pairs).addcmul_(alike, probs.narrow(axis, there, pairs))
    return total


def agreed_logits(logits: Tensor, image: Tensor, stride_px: int, colour_sd: float) -> Tensor:
    """`agreed` for a network's output.

    Args:
        logits: `[N, bins, rows, cols]`, cell i centred on pixel `stride_px` i.
        image: `[N, 3, H, W]` linear light.
        stride_px: Pixels from one cell to the next.
        colour_sd: See `agreed`.

    Returns:
        Logits of the same shape.
    """
    probs = torch.softmax(logits.movedim(1, -1).float(), dim=-1)
    colour = colour_of_cells(image.float(), probs.shape[1:3], stride_px)
    return agreed(probs, colour, colour_sd).clamp_(min=LEAST).log_().movedim(-1, 1)


def colour_of_cells(image: Tensor, cells: tuple[int, ...], stride_px: int) -> Tensor:
    """Logarithm of light around each cell's pixel, `[N, 3, H, W]` -> `[N, rows, cols, 3]`."""
    before = (WINDOW_PX - 1) // 2
    padded = F.pad(image, (before, WINDOW_PX, before, WINDOW_PX), mode="replicate")
    light = F.avg_pool2d(padded, WINDOW_PX, stride_px)[..., : cells[0], : cells[1]]
    return log_light(light).movedim(1, -1)
