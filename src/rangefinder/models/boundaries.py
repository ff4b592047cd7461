"""Occlusion boundaries between cells: a boundary network, and an auxiliary head for training.

Features for blur are nearly blind to light itself and smear an outline over the width of a patch.
Outlines are changes of colour and texture, so a small U-Net predicts them from the photo
(Ronneberger et al., U-Net, 2015), at the resolution of the student's cells.
"""

from __future__ import annotations

from typing import cast

from torch import Tensor, nn

from rangefinder.models.blocks import (
    ConvNorm,
    ResidualBlock,
    channels_last,
    log_light,
    upsample_add,
)

CHANNELS = (16, 24, 32, 48)  # at strides 2, 4, 8 and 16
AUXILIARY_CHANNELS = 24  # of the auxiliary head
INITIAL_LOGIT = -6.0  # of a boundary anywhere, before training


class BoundaryNetwork(nn.Module):
    """U-Net for boundaries between neighbouring cells; cell i is centred on pixel 4 i."""

    def __init__(self) -> None:
        super().__init__()
        at2, at4, at8, at16 = CHANNELS
        self.to2 = ConvNorm(3, at2, kernel=5, stride=2, padded=True)
        self.to4 = ConvNorm(at2, at4, stride=2, padded=True)
        self.to8 = ConvNorm(at4, at8, stride=2, padded=True)
        self.to16 = ConvNorm(at8, at16, stride=2, padded=True)
        self.residual16, self.residual8 = ResidualBlock(at16), ResidualBlock(at8)
        self.residual4 = ResidualBlock(at4)
        self.lateral8, self.lateral4 = nn.Conv2d(at16, at8, 1), nn.Conv2d(at8, at4, 1)
        self.head = boundary_head(at4)

    def forward(self, image: Tensor) -> Tensor:
        """Logits of a boundary to the cell below, and to the right.

        Linear light `[N, 3, H, W]` -> `[N, 2, ceil(H / 4), ceil(W / 4)]`.
        """
        light = channels_last(log_light(image))
        at4 = self.to4(self.to2(light))
        at8 = self.to8(at4)
        at16 = self.residual16(self.to16(at8))
        at8 = self.residual8(upsample_add(self.lateral8(at16), at8))
        at4 = self.residual4(upsample_add(self.lateral4(at8), at4))
        return cast("Tensor", self.head(at4))


class AuxiliaryBoundaryHead(nn.Module):
    """Boundaries from a student's features, in training only, as an auxiliary task.

    Less accurate than `BoundaryNetwork`, but distances near boundaries become better with it
    (multi-task learning: Caruana, 1997).
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = ConvNorm(channels, AUXILIARY_CHANNELS, padded=True)
        self.head = boundary_head(AUXILIARY_CHANNELS)

    def forward(self, features: Tensor) -> Tensor:
        """Features `[N, channels, h, w]` -> logits `[N, 2, h, w]` as `BoundaryNetwork`'s."""
        return cast("Tensor", self.head(self.conv(features)))


def boundary_head(channels: int) -> nn.Conv2d:
    """Last layer, which predicts no boundaries before training."""
    head = nn.Conv2d(channels, 2, 1)
    nn.init.zeros_(head.weight)
    nn.init.constant_(cast("Tensor", head.bias), INITIAL_LOGIT)
    return head
