"""The last layer: features -> logits over the bins of inverse distance."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from rangefinder.config import TeacherParams


class LaplaceHead(nn.Module):
    """One distance and how sure it is: a Laplace distribution, whose peak cannot be two.

    What point models with an uncertainty assume (Kendall and Gal, What Uncertainties Do We Need,
    2017), cut into the bins; here to be compared with.

    Args:
        channels: Features per cell.
        bins: Bins of the predictive distribution.
    """

    place: Tensor

    def __init__(self, channels: int, bins: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, 2, 1)
        self.least = 1 / bins
        self.register_buffer("place", torch.linspace(-1, 1, bins)[:, None, None], persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """`[N, channels, h, w]` -> logits `[N, bins, h, w]`."""
        middle, spread = self.conv(x).split(1, dim=1)
        distance: Tensor = (self.place - middle).abs()
        return -distance / (F.softplus(spread) + self.least)


def build_head(params: TeacherParams, channels: int, bins: int) -> nn.Module:
    """The head of teacher or student.

    Args:
        params: Of the teacher, whose form of prediction the student takes over.
        channels: Features per cell.
        bins: Bins of the predictive distribution.
    """
    if params.form == "laplace":
        return LaplaceHead(channels, bins)
    return nn.Conv2d(channels, bins, 1)
