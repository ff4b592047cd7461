"""What the networks learn from: divergences between distributions over distance."""

from __future__ import annotations

import torch
from torch import Tensor


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
