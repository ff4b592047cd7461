"""The early layers, which teacher and student share."""

from __future__ import annotations

import itertools
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from rangefinder.config import TeacherParams
from rangefinder.models.energies import ColourFilters, Products
from rangefinder.models.layers import ConvNorm, root_light


class Early(NamedTuple):
    """What the early layers find, at stride 4.

    Attributes:
        features: `[N, C, h, w]`.
        products: Of `ColourFilters`, or None without filters.
    """

    features: Tensor
    products: Products | None


class Stem(nn.Module):
    """Early layers, total stride 4. Only whole windows answer.

    Args:
        params: Widths, and how many of the teacher's blocks belong to the early layers.
    """

    stride_px = 4
    strided_px = 9  # what the two strided convolutions see

    def __init__(self, params: TeacherParams) -> None:
        super().__init__()
        fine, coarse = params.stem_channels
        self.first = ConvNorm(3, fine, kernel=5, stride=2, zero_sum=True)
        self.second = ConvNorm(fine, coarse, stride=2)
        widths = [coarse] + [params.channels] * params.stem_blocks
        self.blocks = nn.Sequential(*(ConvNorm(a, b) for a, b in itertools.pairwise(widths)))
        self.filters = ColourFilters(params.filters) if params.filters else None
        self.colour = params.colour
        self.channels = widths[-1]

    @property
    def reach_px(self) -> int:
        """Side of what one feature sees."""
        return self.strided_px + 2 * self.stride_px * len(self.blocks)

    def forward(self, image: Tensor) -> Early:
        """Linear light `[N, 3, H, W]` -> features and products whose cells begin at its corner."""
        image = self.seen(image)
        features = self.blocks(self.second(self.first(root_light(image))))
        return Early(features, self.filters(image) if self.filters is not None else None)

    def seen(self, image: Tensor) -> Tensor:
        """The photo, or the mean of its colours in each of them, same shape."""
        return image if self.colour else image.mean(dim=1, keepdim=True).expand_as(image)

    def centred(self, image: Tensor) -> Early:
        """Linear light `[N, 3, H, W]` -> `[N, *, ceil(H / 4), ceil(W / 4)]`.

        Cell i is centred on pixel 4 i. Beyond its edges the image goes on as it ends.
        """
        seen = (self.reach_px, ColourFilters.reach_px)
        margin_px = max(seen) // 2
        padded = F.pad(image, (margin_px,) * 4, mode="replicate")
        features, products = self(padded.contiguous(memory_format=torch.channels_last))
        surplus = [(margin_px - reach_px // 2) // self.stride_px for reach_px in seen]
        features = _without(features, surplus[0])
        if products is not None:
            products = products.each(lambda x: _without(x, surplus[1]))
        return Early(features, products)


def _without(x: Tensor, border: int) -> Tensor:
    """`[..., h, w]` less so many cells on every side."""
    height, width = x.shape[-2:]
    return x[..., border : height - border, border : width - border]
