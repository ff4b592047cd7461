"""Edge-aware aggregation of a student's posteriors, and saturated pixels.

Cells of one surface have nearly one distance, but each is predicted for itself, with too little
uncertainty where two surfaces meet. A recursive filter along columns, then rows, averages the
posteriors of all cells of a line: each is weighted by its negentropy (normalised convolution:
Knutsson and Westin, 1993) and by the edges between (domain transform: Gastal and Oliveira, Domain
Transform for Edge-Aware Image and Video Processing, 2011). Edges are changes of colour, and the
occlusion boundaries of a network where there is one (Chen et al., Semantic Image Segmentation with
Task-Specific Edge Detection Using CNNs and a Discriminatively Trained Domain Transform, 2016).
Probabilities are averaged, not distances: where neighbours differ, both distances stay possible.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from rangefinder.config import StudentParams
from rangefinder.models.blocks import log_light, window_mean
from rangefinder.models.distribution import negentropy

SATURATION_LEVEL = 0.998  # linear light from which a pixel counts as saturated; full scale is 1
MAX_SATURATED_SHARE = 0.5  # of the pixels around a cell whose posterior is kept
SATURATION_WINDOW_PX = 9  # side of the window around a cell, odd
COLOUR_WINDOW_PX = 4  # side of the window that a cell's colour is averaged over
MIN_NEGENTROPY = 1e-4  # weight of a uniform posterior, so that lines of these have a mean
STRIP_VALUES = 2**22  # probabilities filtered at once; strips of large photos have fewer lines


def uniform_where_saturated(logits: Tensor, image: Tensor, stride_px: int) -> Tensor:
    """Logits with a uniform posterior where a photo is overexposed, which shows no blur.

    Args:
        logits: `[N, bins, rows, cols]`, cell i centred on pixel `stride_px` i.
        image: `[N, 3, H, W]` linear light, 1 where it is saturated.
        stride_px: Pixels from one cell to the next.
    """
    saturated = (image.amax(dim=1, keepdim=True) >= SATURATION_LEVEL).to(image.dtype)
    return logits * (window_mean(saturated, SATURATION_WINDOW_PX, stride_px) <= MAX_SATURATED_SHARE)


class Cells(NamedTuple):
    """What a student knows of each cell by itself, and what aggregation needs beside."""

    weighted: Tensor  # `[N, rows, cols, bins]` posteriors times their weight
    log_light: Tensor  # `[N, rows, cols, 3]` of each cell's colour
    boundaries: Tensor | None  # `[N, rows, cols, 2]` logits, to the cell below and to the right


def weighted_posteriors(log_probs: Tensor) -> Tensor:
    """Posteriors `[..., bins]` times their negentropy, of log posteriors of the same shape."""
    probs = log_probs.exp()
    return probs.mul_(negentropy(probs, log_probs).clamp_(min=MIN_NEGENTROPY)[..., None])


@torch.no_grad()
def aggregate(cells: Cells, params: StudentParams) -> Tensor:
    """Edge-aware means of posteriors, along columns, then rows.

    Args:
        cells: Of a photo; a large one's `weighted` is overwritten, which saves its memory.
        params: `aggregation_sd` (not None), `aggregation_noise` and `boundary_power`.

    Returns:
        `[N, rows, cols, bins]` probabilities.
    """
    total = cells.weighted
    for axis in (1, 2):
        edges = edge_weights(axis, cells.log_light, params, cells.boundaries)
        total = _filtered(axis, total, edges)
    return total.div_(total.sum(-1, keepdim=True))


def _filtered(axis: int, values: Tensor, edges: Tensor) -> Tensor:
    """`recursive_filter`; of a large photo strip by strip, in place."""
    across = 3 - axis
    lines = values.shape[across]
    if torch.compiler.is_exporting() or values.numel() <= STRIP_VALUES:
        return recursive_filter(axis, values, edges)
    at_once = max(1, STRIP_VALUES * lines // values.numel())
    parts = (torch.split(x, at_once, across) for x in (values, edges))
    for strip, between in zip(*parts, strict=True):
        strip.copy_(recursive_filter(axis, strip, between))
    return values


def edge_weights(
    axis: int, colour: Tensor, params: StudentParams, boundaries: Tensor | None
) -> Tensor:
    """Weight 0..1 between neighbouring cells along an axis, `[..., 1]`, one cell less."""
    noise, sd = params.aggregation_noise, params.aggregation_sd
    assert sd is not None
    change = colour.diff(dim=axis).square().sum(-1, keepdim=True)
    beyond_noise = change.add_(noise**2).sqrt_().sub_(noise)  # pseudo-Huber: small changes vanish
    cost = beyond_noise.div_(sd)
    if boundaries is not None:
        between = boundaries[..., axis - 1 : axis].narrow(axis, 0, cost.shape[axis])
        cost.add_(F.softplus(between.float()), alpha=params.boundary_power)  # -log(1 - P(boundary))
    return cost.neg_().exp_()


def recursive_filter(axis: int, values: Tensor, edges: Tensor) -> Tensor:
    """Sum over all cells of a line, each weighted by the product of the edge weights between.

    `values` is `[N, rows, cols, C]`, `edges` `[N, rows, cols, 1]` with one cell less along `axis`.
    """
    if torch.compiler.is_exporting():
        return _scanned_filter(axis, values, edges)
    result = values.clone()
    cells, total, links = (x.unbind(axis) for x in (values, result, edges))
    for i, link in enumerate(links):
        total[i + 1].addcmul_(link, total[i])
    backward = torch.zeros_like(cells[0])
    for i in reversed(range(len(links))):
        backward = (backward + cells[i + 1]).mul_(links[i])
        total[i].add_(backward)
    return result


def _scanned_filter(axis: int, values: Tensor, edges: Tensor) -> Tensor:
    """`recursive_filter` as scans, which a graph for any number of cells can hold."""
    from torch._higher_order_ops.scan import scan

    cells, links = values.movedim(axis, 0), edges.movedim(axis, 0)
    first = cells[0].clone(memory_format=torch.contiguous_format)
    _, forward = scan(_forward_step, first, (links, cells[1:]))
    _, backward = scan(_backward_step, torch.zeros_like(first), (links, cells[1:]), reverse=True)
    total = torch.cat([cells[:1], forward]) + torch.cat([backward, torch.zeros_like(cells[:1])])
    return total.movedim(0, axis)


def _forward_step(before: Tensor, step: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
    link, cell = step
    total = torch.addcmul(cell, link, before)
    return total, total.clone()


def _backward_step(after: Tensor, step: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
    link, cell = step
    total = (after + cell) * link
    return total, total.clone()


def cell_log_light(image: Tensor, stride_px: int) -> Tensor:
    """Log of light around each cell's pixel, `[N, 3, H, W]` -> `[N, rows, cols, 3]`."""
    return log_light(window_mean(image, COLOUR_WINDOW_PX, stride_px)).movedim(1, -1)
