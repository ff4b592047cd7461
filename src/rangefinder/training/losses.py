"""What the networks learn from: divergences between distributions over distance."""

from __future__ import annotations

import itertools

import torch
from torch import Tensor
from torch.nn import functional as F

BORDER_STEP = 0.03  # change in the logarithm of distance between cells that is a border
SIDE_STEP = 0.1  # ... that makes them cells of two sides
SIDE_CELLS = (1, 2, 4)  # how far these are apart along a row or column


def cross_entropy(
    logits: Tensor, target: Tensor, weight: Tensor | None = None, cost: Tensor | None = None
) -> Tensor:
    """Cross-entropy of predicted distributions, averaged over cells.

    It differs from the Kullback-Leibler divergence by the target's entropy, which no weight of the
    network can change.

    Where errors cost more at some distances, cells of these count more. That alone would teach that
    such distances are likelier than they are, so the logits are adjusted by as much (Menon et al.,
    Long-tail learning via logit adjustment, 2021): the least loss stays where both agree.

    Args:
        logits: `[N, bins, h, w]`.
        target: `[N, h, w, bins]` probabilities.
        weight: `[N, h, w]` what each cell counts, or None for all alike.
        cost: `[bins]` what an error costs at the distance of each bin, or None for all alike.

    Returns:
        The mean [nat], a scalar.
    """
    logits = logits.movedim(1, -1).float()
    if cost is not None:
        logits, target = logits + cost.log(), target * cost
    loss = -(target * torch.log_softmax(logits, dim=-1)).sum(-1)
    counts = torch.ones_like(loss) if weight is None else weight
    whole = counts if cost is None else counts * target.sum(-1)
    return (loss * counts).sum() / whole.sum().clamp(min=1e-6)


def border_loss(borders: Tensor, inverse_dpt: Tensor) -> Tensor:
    """Binary cross-entropy of borders between cells, averaged over those whose distance is known.

    Args:
        borders: `[N, 2, h, w]` logits that the cell below, and that to the right, show
            another thing.
        inverse_dpt: `[N, h, w]` true inverse distance [dpt], 0 where it is unknown.

    Returns:
        The mean [nat], a scalar.
    """
    loss, count = borders.new_zeros(()).float(), 0
    for axis, logits in enumerate(borders.float().unbind(1), start=1):
        both, step = _pairs(inverse_dpt, axis, 1)
        border = (step > BORDER_STEP).float()[both]
        found = logits.narrow(axis, 0, step.shape[axis])[both]
        loss = loss + F.binary_cross_entropy_with_logits(found, border, reduction="sum")
        count += border.numel()
    return loss / max(count, 1)


def side_loss(logits: Tensor, target: Tensor, inverse_dpt: Tensor) -> Tensor:
    """Which of two things a cell beside their border shows: binary cross-entropy, averaged.

    Only its own distance and that of a neighbour on the other side are weighed against each other
    (Bradley and Terry 1952). How likely both are among all distances is not asked, so it is not
    learned either.

    Args:
        logits: `[N, bins, h, w]`.
        target: `[N, h, w, bins]` distributions that stand for the true distances.
        inverse_dpt: `[N, h, w]` true inverse distance [dpt], 0 where it is unknown.

    Returns:
        The mean over such pairs [nat], a scalar; 0 if there are none.
    """
    log_probs = torch.log_softmax(logits.movedim(1, -1).float(), dim=-1)
    own = (target * log_probs).sum(-1)
    loss, count = own.new_zeros(()), 0
    for axis, apart in itertools.product((1, 2), SIDE_CELLS):
        both, step = _pairs(inverse_dpt, axis, apart)
        sides, size = both & (step > SIDE_STEP), step.shape[axis]
        for mine, theirs in ((0, apart), (apart, 0)) if size else ():
            said = log_probs.narrow(axis, mine, size)[sides]
            other = (target.narrow(axis, theirs, size)[sides] * said).sum(-1)
            loss = loss + F.softplus(other - own.narrow(axis, mine, size)[sides]).sum()
            count += len(other)
    return loss / max(count, 1)


def _pairs(inverse_dpt: Tensor, axis: int, apart: int) -> tuple[Tensor, Tensor]:
    """Whether both cells so far apart are known, and how far their log distances differ."""
    apart = min(apart, inverse_dpt.shape[axis])
    size = inverse_dpt.shape[axis] - apart
    here, there = (inverse_dpt.narrow(axis, first, size) for first in (0, apart))
    step = (there.clamp(min=1e-6).log() - here.clamp(min=1e-6).log()).abs()
    return (here > 0) & (there > 0), step
