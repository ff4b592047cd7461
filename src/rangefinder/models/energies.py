"""What blur leaves of each colour, as energies of linear filters and as coherences of colours."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from rangefinder.models.layers import log_light, zero_sum

COLOURS = 3
COMPARED = 6  # per filter: one energy, two ratios of energies, three coherences
WIDTHS = (1, 8, 16)  # channels per colour before each layer
LEAST_ENERGY = 1e-3  # added to energies, so that blank places have a logarithm and a coherence too


class Products(NamedTuple):
    """Products of what the same filter finds in two colours.

    Attributes:
        squares: `[N, 3 filters, h, w]` of red, of green, of blue.
        crosses: `[N, 3 filters, h, w]` red times green, green times blue, blue times red.
    """

    squares: Tensor
    crosses: Tensor

    @classmethod
    def of(cls, found: Tensor) -> Products:
        """Products of filter responses `[N, 3 filters, h, w]`, colour by colour."""
        return cls(found.square(), found * _next_colour(found))

    def each(self, change: Callable[[Tensor], Tensor]) -> Products:
        """Both after the same change, such as an average over neighbours."""
        return Products(change(self.squares), change(self.crosses))

    def compared(self) -> list[Tensor]:
        """What they say of blur once averaged, `[N, *, h, w]`: `COMPARED` channels per filter.

        The logarithm of green's energy; of the other colours' energies over green's, which tell the
        side of the focus, because a lens brings its colours to a focus at different distances; and
        the coherences of the colours, which tell how far these ratios can be trusted.
        """
        energies = self.squares + LEAST_ENERGY
        red, green, blue = torch.log(energies).chunk(COLOURS, dim=1)
        coherences = self.crosses * torch.rsqrt(energies * _next_colour(energies))
        return [green, red - green, blue - green, coherences]


def _next_colour(x: Tensor) -> Tensor:
    return x.roll(-(x.shape[1] // COLOURS), dims=1)


class ColourConv2d(nn.Conv2d):
    """The same convolution on every colour, without bias: `[N, 3 in, H, W]` -> `[N, 3 out, h, w]`.

    Args:
        channels_in: Input channels per colour.
        channels_out: Output channels per colour.
        kernel: Side of the filters.
        stride: Step.
        zero_sum: Let the filters sum to zero, so that they see no offsets.
    """

    def __init__(
        self,
        channels_in: int,
        channels_out: int,
        kernel: int,
        stride: int = 1,
        *,
        zero_sum: bool = False,
    ) -> None:
        super().__init__(channels_in, channels_out, kernel, stride, bias=False)
        self.zero_sum = zero_sum

    def forward(self, x: Tensor) -> Tensor:
        """Only whole windows answer."""
        weight = zero_sum(self.weight) if self.zero_sum else self.weight
        return F.conv2d(x, weight.repeat(COLOURS, 1, 1, 1), stride=self.stride, groups=COLOURS)


class ColourFilters(nn.Module):
    """The same linear filters on red, green and blue, total stride 4.

    Measuring defocus by ratios of energies is as old as the field (Watanabe and Nayar, Rational
    filters for passive depth from defocus, 1998). Here the filters are learned, and nothing is
    rectified before energies are taken, so faint texture is not lost.

    Args:
        filters: Filters per colour.
    """

    reach_px = 17  # side of what one filter sees

    def __init__(self, filters: int) -> None:
        super().__init__()
        plane, fine, coarse = WIDTHS
        self.first = ColourConv2d(plane, fine, 5, 2, zero_sum=True)
        self.second = ColourConv2d(fine, coarse, 3, 2)
        self.third = ColourConv2d(coarse, filters, 3)

    def forward(self, image: Tensor) -> Products:
        """Linear light `[N, 3, H, W]` -> products, to be averaged over a neighbourhood."""
        return Products.of(self.third(self.second(self.first(log_light(image)))))


class PatchEnergies(nn.Module):
    """Comparison of the colours over patches.

    Args:
        cells: Side of a patch in cells of `ColourFilters`.
    """

    def __init__(self, cells: int) -> None:
        super().__init__()
        self.cells = cells

    def forward(self, products: Products) -> list[Tensor]:
        """`[N, *, rows, cols]`, `COMPARED` channels per filter, one cell per patch."""
        return products.each(self._mean).compared()

    def _mean(self, x: Tensor) -> Tensor:
        return F.avg_pool2d(F.avg_pool2d(x, (self.cells, 1), 1), (1, self.cells), 1)
