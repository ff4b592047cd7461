"""Neighbours that look alike answer together.

Cells of one surface have one distance, or nearly, but each answers for itself, and is too sure of
itself where two surfaces meet. So every cell hears all others of its column, then of its row. Each
counts by what it knows (normalised convolution, Knutsson and Westin 1993), and by how little the
photo changes on the whole way between them (the domain transform, Gastal and Oliveira 2011): a
blank wall is told by its far end, but nothing is heard across the border of another thing. Where
borders are a network may say as well (Chen et al., Semantic Image Segmentation with Task-Specific
Edge Detection, 2016). What is mixed are probabilities: where neighbours differ, both distances stay
possible.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from rangefinder.models.lattice import mean_around_cells
from rangefinder.models.layers import log_light
from rangefinder.models.prediction import information

NOISE = 0.04  # change of colour between cells below which noise may have made it [logarithm]
BORDER_POWER = 10  # of the probability that no border lies between cells
LEAST_CERTAINTY = 1e-4  # so that cells that know nothing have an answer where nobody does
LEAST = 1e-30  # probability that counts as none
WINDOW_PX = 4  # side of the window that a cell's colour is averaged over


@torch.no_grad()
def agreed(
    log_probs: Tensor, colour: Tensor, colour_sd: float, borders: Tensor | None = None
) -> Tensor:
    """Distributions of cells and all their neighbours, weighted by certainty and likeness.

    Args:
        log_probs: `[N, rows, cols, bins]` logarithms of probabilities.
        colour: `[N, rows, cols, 3]` logarithm of light.
        colour_sd: Change in that, added up from cell to cell, by which a neighbour counts 1 / e.
        borders: `[N, 2, rows, cols]` logits that the cell below, and that to the right, show
            another thing; None: nobody knows.

    Returns:
        Probabilities of the same shape, up to a factor for each cell, without gradients.
    """
    probs = log_probs.exp()
    certainty = information(probs, log_probs).clamp_(min=LEAST_CERTAINTY)
    said = probs * certainty[..., None]
    for axis in (1, 2):
        said = _heard_along(axis, said, _likeness(axis, colour, colour_sd, borders))
    return said


def _likeness(axis: int, colour: Tensor, colour_sd: float, borders: Tensor | None) -> Tensor:
    """How much of what one cell says its next neighbour hears, `[..., 1]`, one cell less."""
    change = colour.diff(dim=axis).square().sum(-1, keepdim=True)
    beyond_noise = change.add_(NOISE**2).sqrt_().sub_(NOISE)  # pseudo-Huber: small changes vanish
    unlike = beyond_noise.div_(colour_sd)
    if borders is not None:
        between = borders[:, axis - 1, ..., None].narrow(axis, 0, unlike.shape[axis])
        unlike.add_(F.softplus(between.float()), alpha=BORDER_POWER)  # -log(1 - probability)
    return unlike.neg_().exp_()


def _heard_along(axis: int, said: Tensor, likeness: Tensor) -> Tensor:
    """Sum over all cells of a line, each weighted by the likeness of all pairs between."""
    heard = said.clone()
    cells, total, links = (x.unbind(axis) for x in (said, heard, likeness))
    for i, link in enumerate(links):
        total[i + 1].addcmul_(link, total[i])
    back = torch.zeros_like(cells[0])
    for i in reversed(range(len(links))):
        back = (back + cells[i + 1]).mul_(links[i])
        total[i].add_(back)
    return heard


def agreed_logits(
    logits: Tensor, image: Tensor, stride_px: int, colour_sd: float, borders: Tensor | None = None
) -> Tensor:
    """`agreed` for a network's output.

    Args:
        logits: `[N, bins, rows, cols]`, cell i centred on pixel `stride_px` i.
        image: `[N, 3, H, W]` linear light.
        stride_px: Pixels from one cell to the next.
        colour_sd: See `agreed`.
        borders: See `agreed`.

    Returns:
        Logits of the same shape.
    """
    log_probs = torch.log_softmax(logits.movedim(1, -1).float(), dim=-1)
    colour = colour_of_cells(image.float(), stride_px)
    return agreed(log_probs, colour, colour_sd, borders).clamp_(min=LEAST).log_().movedim(-1, 1)


def colour_of_cells(image: Tensor, stride_px: int) -> Tensor:
    """Logarithm of light around each cell's pixel, `[N, 3, H, W]` -> `[N, rows, cols, 3]`."""
    return log_light(mean_around_cells(image, WINDOW_PX, stride_px)).movedim(1, -1)
