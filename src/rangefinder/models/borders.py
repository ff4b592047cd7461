"""Where one thing ends and the next begins, told by a small network of its own.

Blur is read from patches and from features made to be blind to light itself, which smear an
outline over the width of a patch. Outlines are where colour and texture change; so this network
sees the photo, at the resolution of the student's cells and at coarser ones for what lies around
(encoder and decoder: Ronneberger et al., U-Net, 2015). Of distance it knows nothing.
"""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor, nn

from rangefinder.models.lattice import refined
from rangefinder.models.layers import ConvNorm, Look, log_light

CHANNELS = (16, 24, 32, 48)  # at strides 2, 4, 8 and 16
HINTS = 24  # channels that tell borders from features
NO_BORDER = -6.0  # logit that a newborn network gives everywhere


class Borders(nn.Module):
    """Borders between neighbouring cells, of which cell i is centred on pixel 4 i."""

    def __init__(self) -> None:
        super().__init__()
        at2, at4, at8, at16 = CHANNELS
        self.to2 = ConvNorm(3, at2, kernel=5, stride=2, padded=True)
        self.to4 = ConvNorm(at2, at4, stride=2, padded=True)
        self.to8 = ConvNorm(at4, at8, stride=2, padded=True)
        self.to16 = ConvNorm(at8, at16, stride=2, padded=True)
        self.look16, self.look8, self.look4 = Look(at16), Look(at8), Look(at4)
        self.up8, self.up4 = nn.Conv2d(at16, at8, 1), nn.Conv2d(at8, at4, 1)
        self.head = border_head(at4)

    def forward(self, image: Tensor) -> Tensor:
        """Look for borders.

        Args:
            image: `[N, 3, H, W]` linear light.

        Returns:
            `[N, 2, ceil(H / 4), ceil(W / 4)]` logits that the cell below, and that to the right,
            show another thing.
        """
        light = log_light(image).contiguous(memory_format=torch.channels_last)
        at4 = self.to4(self.to2(light))
        at8 = self.to8(at4)
        at16 = self.look16(self.to16(at8))
        at8 = self.look8(refined(self.up8(at16), at8))
        at4 = self.look4(refined(self.up4(at8), at4))
        return cast("Tensor", self.head(at4))


class Hints(nn.Module):
    """Borders told by a student's features: asked for in training, so that features know them.

    They are found less well than by `Borders`, but a student that looks for them answers better
    beside them (multi-task learning: Caruana 1997).

    Args:
        channels: Of the features.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.around = ConvNorm(channels, HINTS, padded=True)
        self.head = border_head(HINTS)

    def forward(self, features: Tensor) -> Tensor:
        """Features `[N, channels, h, w]` -> logits `[N, 2, h, w]` as those of `Borders`."""
        return cast("Tensor", self.head(self.around(features)))


def border_head(channels: int) -> nn.Conv2d:
    """Last layer, that sees no borders yet."""
    head = nn.Conv2d(channels, 2, 1)
    nn.init.zeros_(head.weight)
    nn.init.constant_(cast("Tensor", head.bias), NO_BORDER)
    return head
