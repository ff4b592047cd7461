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
MIN_PROBABILITY = 1e-30  # before a logarithm


def uniform_where_saturated(logits: Tensor, image: Tensor, stride_px: int) -> Tensor:
    """Logits with a uniform posterior where a photo is overexposed, which shows no blur.

    Args:
        logits: `[N, bins, rows, cols]`, cell i centred on pixel `stride_px` i.
        image: `[N, 3, H, W]` linear light, 1 where it is saturated.
        stride_px: Pixels from one cell to the next.
    """
    saturated = (image.amax(dim=1, keepdim=True) >= SATURATION_LEVEL).to(image.dtype)
    return logits * (window_mean(saturated, SATURATION_WINDOW_PX, stride_px) <= MAX_SATURATED_SHARE)


def aggregate_logits(
    logits: Tensor,
    image: Tensor,
    stride_px: int,
    params: StudentParams,
    boundaries: Tensor | None = None,
) -> Tensor:
    """Edge-aware aggregation of a network's output.

    Args:
        logits: `[N, bins, rows, cols]`, cell i centred on pixel `stride_px` i.
        image: `[N, 3, H, W]` linear light.
        stride_px: Pixels from one cell to the next.
        params: `aggregation_sd` (not None), `aggregation_noise` and `boundary_power`.
        boundaries: `[N, 2, rows, cols]` logits of an occlusion boundary to the cell below, and to
            the right; None: colour alone.

    Returns:
        Logits of the same shape, without gradients.
    """
    log_probs = torch.log_softmax(logits.movedim(1, -1).float(), dim=-1)
    colour = cell_log_light(image.float(), stride_px)
    probs = aggregate_posteriors(log_probs, colour, params, boundaries)
    return probs.clamp_(min=MIN_PROBABILITY).log_().movedim(-1, 1)


@torch.no_grad()
def aggregate_posteriors(
    log_probs: Tensor, colour: Tensor, params: StudentParams, boundaries: Tensor | None = None
) -> Tensor:
    """Weighted means `[N, rows, cols, bins]` of log posteriors, along columns, then rows.

    They are probabilities up to a factor for each cell. `colour` is `[N, rows, cols, 3]` log of
    light; see `aggregate_logits` for the rest.
    """
    probs = log_probs.exp()
    weight = negentropy(probs, log_probs).clamp_(min=MIN_NEGENTROPY)
    weighted = probs * weight[..., None]
    for axis in (1, 2):
        edges = edge_weights(axis, colour, params, boundaries)
        weighted = recursive_filter(axis, weighted, edges)
    return weighted


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
        between = boundaries[:, axis - 1, ..., None].narrow(axis, 0, cost.shape[axis])
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
