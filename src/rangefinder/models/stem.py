"""The shared stem: early convolutions, and a filter bank whose second moments compare colours."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.parametrize import register_parametrization

from rangefinder.config import TeacherParams
from rangefinder.models.blocks import ConvNorm, ZeroSum, anscombe, channels_last, log_light

COLOURS = 3
FEATURES_PER_FILTER = 6  # one energy, two energy ratios, three cross-channel coherences
WIDTHS = (1, 8, 16)  # channels per colour before each layer
MIN_ENERGY = 1e-3  # added, so that logarithm and coherence exist without texture


class SecondMoments(NamedTuple):
    """Second moments of filter responses within and across colours."""

    squares: Tensor  # `[N, 3 filters, h, w]` of red, of green, of blue
    crosses: Tensor  # `[N, 3 filters, h, w]` red times green, green times blue, blue times red

    @classmethod
    def of(cls, responses: Tensor) -> SecondMoments:
        """Of filter responses `[N, 3 filters, h, w]`, cell by cell."""
        return cls(responses.square(), responses * _next_colour(responses))

    def each(self, change: Callable[[Tensor], Tensor]) -> SecondMoments:
        """Apply a function, such as a local mean, to both."""
        return SecondMoments(change(self.squares), change(self.crosses))

    def features(self) -> list[Tensor]:
        """Features of averaged moments, `[N, *, h, w]`: `FEATURES_PER_FILTER` channels per filter.

        Log of green's energy; log ratios of red's and blue's energy to green's, which carry the
        defocus sign through axial colour; and cross-channel coherences, which carry how reliable
        the ratios are.
        """
        energies = self.squares + MIN_ENERGY
        red, green, blue = torch.log(energies).chunk(COLOURS, dim=1)
        coherences = self.crosses * torch.rsqrt(energies * _next_colour(energies))
        return [green, red - green, blue - green, coherences]


def _next_colour(x: Tensor) -> Tensor:
    return x.roll(-(x.shape[1] // COLOURS), dims=1)


class ColourConv2d(nn.Conv2d):
    """The same convolution on every colour, without bias: `[N, 3 in, H, W]` -> `[N, 3 out, h, w]`.

    `zero_sum` constrains filters to sum to zero.
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
        if zero_sum:
            register_parametrization(self, "weight", ZeroSum())

    def forward(self, x: Tensor) -> Tensor:
        """Valid convolution."""
        weight = self.weight.repeat(COLOURS, 1, 1, 1)
        return F.conv2d(x, weight, stride=self.stride, groups=COLOURS)


class FilterBank(nn.Module):
    """Learned linear filters, the same on red, green and blue, total stride 4.

    Depth from ratios of filter-bank energies: Watanabe and Nayar, Rational Filters for Passive
    Depth from Defocus, 1998. Nothing is rectified before energies are taken, so that faint texture
    is not lost in noise.
    """

    receptive_px = 17  # side of a filter's receptive field

    def __init__(self, filters: int) -> None:
        super().__init__()
        plane, fine, coarse = WIDTHS
        self.first = ColourConv2d(plane, fine, 5, 2, zero_sum=True)
        self.second = ColourConv2d(fine, coarse, 3, 2)
        self.third = ColourConv2d(coarse, filters, 3)

    def forward(self, image: Tensor) -> SecondMoments:
        """Linear light `[N, 3, H, W]` -> moments, to be averaged over a neighbourhood."""
        return SecondMoments.of(self.third(self.second(self.first(log_light(image)))))


class PatchMoments(nn.Module):
    """Features of second moments averaged over patches.

    Args:
        cells: Side of a patch in cells of `FilterBank`.
    """

    def __init__(self, cells: int) -> None:
        super().__init__()
        self.cells = cells

    def forward(self, moments: SecondMoments) -> list[Tensor]:
        """`[N, *, rows, cols]`, `FEATURES_PER_FILTER` channels per filter, one cell per patch."""
        return moments.each(self._mean).features()

    def _mean(self, x: Tensor) -> Tensor:
        return F.avg_pool2d(F.avg_pool2d(x, (self.cells, 1), 1), (1, self.cells), 1)


class StemOutput(NamedTuple):
    """Output of the stem, at stride 4."""

    features: Tensor  # `[N, C, h, w]`
    moments: SecondMoments | None  # of `FilterBank`, or None without filters


class Stem(nn.Module):
    """Early layers, total stride 4, valid convolutions.

    Args:
        params: Widths, and how many of the teacher's blocks belong to the stem.
    """

    stride_px = 4
    strided_px = 9  # receptive field of the two strided convolutions

    def __init__(self, params: TeacherParams) -> None:
        super().__init__()
        fine, coarse = params.stem_channels
        self.first = ConvNorm(3, fine, kernel=5, stride=2, zero_sum=True)
        self.second = ConvNorm(fine, coarse, stride=2)
        widths = [coarse] + [params.channels] * params.stem_blocks
        self.blocks = nn.Sequential(*(ConvNorm(a, b) for a, b in itertools.pairwise(widths)))
        self.filters = FilterBank(params.filters) if params.filters else None
        self.colour = params.colour
        self.channels = widths[-1]

    @property
    def receptive_px(self) -> int:
        """Side of a feature's receptive field [px]."""
        return self.strided_px + 2 * self.stride_px * len(self.blocks)

    def forward(self, image: Tensor) -> StemOutput:
        """Linear light `[N, 3, H, W]` -> features and moments of valid windows."""
        image = self.input_colours(image)
        features = self.blocks(self.second(self.first(anscombe(image))))
        return StemOutput(features, self.filters(image) if self.filters is not None else None)

    def input_colours(self, image: Tensor) -> Tensor:
        """The photo, or, for grey networks, its mean over colours in each of them; same shape."""
        return image if self.colour else image.mean(dim=1, keepdim=True).expand_as(image)

    def centred(self, image: Tensor) -> StemOutput:
        """Linear light `[N, 3, H, W]` -> `[N, *, ceil(H / 4), ceil(W / 4)]`.

        Cell i is centred on pixel 4 i; borders are replicated.
        """
        fields = (self.receptive_px, FilterBank.receptive_px)
        margin_px = max(fields) // 2
        padded = F.pad(image, (margin_px,) * 4, mode="replicate")
        features, moments = self(channels_last(padded))
        surplus = [(margin_px - field_px // 2) // self.stride_px for field_px in fields]
        features = _cropped(features, surplus[0])
        if moments is not None:
            moments = moments.each(lambda x: _cropped(x, surplus[1]))
        return StemOutput(features, moments)


def _cropped(x: Tensor, border: int) -> Tensor:
    """`[..., h, w]` without so many cells on every side."""
    height, width = x.shape[-2:]
    return x[..., border : height - border, border : width - border]
