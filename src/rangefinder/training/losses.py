"""Losses: cost-sensitive cross-entropy, occlusion-boundary loss, pairwise ranking loss."""

from __future__ import annotations

import itertools

import torch
from torch import Tensor
from torch.nn import functional as F

RANKING_OFFSETS = (1, 2, 4)  # cells between the two of a ranked pair, along a row or column


def cross_entropy(
    logits: Tensor, target: Tensor, weight: Tensor | None = None, cost: Tensor | None = None
) -> Tensor:
    """Cross-entropy of predicted distributions, averaged over cells: a scalar [nat].

    It differs from the Kullback-Leibler divergence by the target's entropy, a constant.

    Cost-sensitive if `cost` is given: cells at distances where an error costs more have more
    weight. That alone would bias the posterior towards such distances, so the logits are adjusted
    by as much (Menon et al., Long-tail learning via logit adjustment, 2021): the minimum stays
    where prediction and target agree.

    Args:
        logits: `[N, bins, h, w]`.
        target: `[N, h, w, bins]` probabilities.
        weight: `[N, h, w]` of each cell; None: 1.
        cost: `[bins]` of an error at the distance of each bin; None: 1.
    """
    logits = logits.movedim(1, -1).float()
    if cost is not None:
        logits, target = logits + cost.log(), target * cost
    loss = -(target * torch.log_softmax(logits, dim=-1)).sum(-1)
    weights = torch.ones_like(loss) if weight is None else weight
    total = weights if cost is None else weights * target.sum(-1)
    return (loss * weights).sum() / total.sum().clamp(min=1e-6)


def boundary_loss(boundaries: Tensor, inverse_dpt: Tensor, step: float) -> Tensor:
    """Binary cross-entropy of occlusion boundaries, averaged over known cells: a scalar [nat].

    Args:
        boundaries: `[N, 2, h, w]` logits of a boundary to the cell below, and to the right.
        inverse_dpt: `[N, h, w]` true inverse distance [dpt], 0 where unknown.
        step: Step in log distance that is a boundary.
    """
    loss, count = boundaries.new_zeros(()).float(), 0
    for axis, logits in enumerate(boundaries.float().unbind(1), start=1):
        both, change = _pairs(inverse_dpt, axis, 1)
        label = (change > step).float()[both]
        predicted = logits.narrow(axis, 0, change.shape[axis])[both]
        loss = loss + F.binary_cross_entropy_with_logits(predicted, label, reduction="sum")
        count += label.numel()
    return loss / max(count, 1)


def ranking_loss(logits: Tensor, target: Tensor, inverse_dpt: Tensor, step: float) -> Tensor:
    """Pairwise ranking loss across occlusion boundaries, averaged over pairs: a scalar [nat].

    For a cell and a neighbour across a boundary: its own distance against the neighbour's, as a
    Bradley-Terry comparison (Bradley and Terry, 1952). Only the two are compared, so the prior over
    distances is not trained.

    Args:
        logits: `[N, bins, h, w]`.
        target: `[N, h, w, bins]` soft labels of the true distances.
        inverse_dpt: `[N, h, w]` true inverse distance [dpt], 0 where unknown.
        step: Step in log distance between the two cells of a pair.
    """
    log_probs = torch.log_softmax(logits.movedim(1, -1).float(), dim=-1)
    own = (target * log_probs).sum(-1)
    loss, count = own.new_zeros(()), 0
    for axis, offset in itertools.product((1, 2), RANKING_OFFSETS):
        both, change = _pairs(inverse_dpt, axis, offset)
        pairs, size = both & (change > step), change.shape[axis]
        for mine, theirs in ((0, offset), (offset, 0)) if size else ():
            predicted = log_probs.narrow(axis, mine, size)[pairs]
            other = (target.narrow(axis, theirs, size)[pairs] * predicted).sum(-1)
            loss = loss + F.softplus(other - own.narrow(axis, mine, size)[pairs]).sum()
            count += len(other)
    return loss / max(count, 1)


def _pairs(inverse_dpt: Tensor, axis: int, offset: int) -> tuple[Tensor, Tensor]:
    """Whether both cells of each pair are known, and the absolute step in log distance."""
    offset = min(offset, inverse_dpt.shape[axis])
    size = inverse_dpt.shape[axis] - offset
    here, there = (inverse_dpt.narrow(axis, first, size) for first in (0, offset))
    change = (there.clamp(min=1e-6).log() - here.clamp(min=1e-6).log()).abs()
    return (here > 0) & (there > 0), change
