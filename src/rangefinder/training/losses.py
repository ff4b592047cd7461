"""What the networks learn from: divergences between distributions over distance."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

BORDER_STEP = 0.03  # change in the logarithm of distance between cells that is a border


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
    known = inverse_dpt > 0
    loss, count = borders.new_zeros(()).float(), 0
    for axis, logits in enumerate(borders.float().unbind(1), start=1):
        size = inverse_dpt.shape[axis] - 1
        step = inverse_dpt.clamp(min=1e-6).log().diff(dim=axis).abs()
        both = known.narrow(axis, 0, size) & known.narrow(axis, 1, size)
        border = (step > BORDER_STEP).float()[both]
        found = logits.narrow(axis, 0, size)[both]
        loss = loss + F.binary_cross_entropy_with_logits(found, border, reduction="sum")
        count += border.numel()
    return loss / max(count, 1)
