"""What the networks learn from: divergences between distributions over distance."""

from __future__ import annotations

import torch
from torch import Tensor


def cross_entropy(logits: Tensor, target: Tensor, weight: Tensor | None = None) -> Tensor:
    """Cross-entropy of predicted distributions, averaged over cells.

    It differs from the Kullback-Leibler divergence by the target's entropy, which no weight of the
    network can change.

    Args:
        logits: `[N, bins, h, w]`.
        target: `[N, h, w, bins]` probabilities.
        weight: `[N, h, w]` what each cell counts, or None for all alike.

    Returns:
        The mean [nat], a scalar.
    """
    log_probs = torch.log_softmax(logits.movedim(1, -1).float(), dim=-1)
    loss = -(target * log_probs).sum(-1)
    if weight is None:
        return loss.mean()
    return (loss * weight).sum() / weight.sum().clamp(min=1e-6)
