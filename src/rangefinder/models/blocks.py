"""Building blocks of both networks: encodings, convolutions, FiLM, heads, resampling."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import TypeVar, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.fusion import fuse_conv_bn_eval
from torch.nn.utils.parametrize import (
    is_parametrized,
    register_parametrization,
    type_before_parametrizations,
)

from rangefinder.config import TeacherParams

LOG_OFFSET = 0.02  # about the light below which read noise dominates
ANSCOMBE_GAIN = 4.0  # scales the square root like the logarithm
M = TypeVar("M", bound=nn.Module)


@dataclass(frozen=True)
class Lattice:
    """Positions of a network's output cells: cell i at `first_px + i * stride_px` [image px]."""

    first_px: float
    stride_px: float


def resample(values: Tensor, lattice: Lattice, y_px: Tensor, x_px: Tensor) -> Tensor:
    """Bilinear interpolation of lattice values, constant beyond the outermost cells.

    Args:
        values: `[N, C, h, w]` on the lattice (the same along both axes).
        lattice: Where they sit.
        y_px: `[H]` rows of the result `[N, C, H, W]` [image px].
        x_px: `[W]` its columns [image px].
    """
    return _along(_along(values, lattice, y_px, dim=2), lattice, x_px, dim=3)


def _along(values: Tensor, lattice: Lattice, wanted_px: Tensor, dim: int) -> Tensor:
    size = values.shape[dim]
    place = (wanted_px.to(values.device) - lattice.first_px) / lattice.stride_px
    place = place.clamp(0, size - 1)
    index = place.floor().long()
    shape = [1] * values.dim()
    shape[dim] = -1
    fraction = (place - index).to(values.dtype).reshape(shape)
    exported = torch.compiler.is_exporting()  # a graph does not depend on values
    if not exported and not bool(fraction.any()):
        return _select(values, index, dim)
    here = values.index_select(dim, index)
    after = values.index_select(dim, (index + 1).clamp(max=size - 1))
    return torch.lerp(here, after, fraction)


def _select(values: Tensor, index: Tensor, dim: int) -> Tensor:
    """Cells at integer positions; consecutive ones as a view, which costs no gradient copy."""
    first = int(index[0])
    if torch.equal(index, torch.arange(first, first + len(index), device=index.device)):
        return values.narrow(dim, first, len(index))
    return values.index_select(dim, index)


def upsample_add(coarse: Tensor, fine: Tensor) -> Tensor:
    """FPN lateral sum `[N, C, H, W]`: a level of half the resolution (cell i -> 2 i) is added.

    `coarse` is `[N, C, h, w]`, h = ceil(H / 2), w = ceil(W / 2).
    """
    height, width = fine.shape[-2:]
    x = F.pad(coarse, (0, 1, 0, 1), mode="replicate")
    size = (2 * (x.shape[-2] - 1) + 1, 2 * (x.shape[-1] - 1) + 1)
    big = F.interpolate(x, size=size, mode="bilinear", align_corners=True)
    return fine + big[..., :height, :width]


def window_mean(image: Tensor, window_px: int, stride_px: int) -> Tensor:
    """Mean over a window around pixel `stride_px` i for each cell i, with replicated borders.

    `[N, C, H, W]` -> `[N, C, ceil(H / stride_px), ceil(W / stride_px)]`.
    """
    before, after = (window_px - 1) // 2, window_px // 2
    padded = F.pad(image, (before, after, before, after), mode="replicate")
    return F.avg_pool2d(padded, window_px, stride_px)


def log_light(image: Tensor) -> Tensor:
    """Log of linear light, any shape: exposure and white balance become offsets."""
    return image.clamp(min=0).add_(LOG_OFFSET).log_()


def channels_last(image: Tensor) -> Tensor:
    """The same `[N, C, H, W]`, laid out as convolutions are fastest; graphs have no layout."""
    if torch.compiler.is_exporting():
        return image
    return image.contiguous(memory_format=torch.channels_last)


def anscombe(image: Tensor) -> Tensor:
    """Variance-stabilising square root of linear light, any shape (Anscombe, 1948)."""
    return image.clamp(min=0).mul_(ANSCOMBE_GAIN**2).sqrt_()


class ZeroSum(nn.Module):
    """Parametrisation of filters `[out, in, k, k]`: every plane sums to zero."""

    def forward(self, filters: Tensor) -> Tensor:
        """Subtract each plane's mean."""
        return filters - filters.mean(dim=(2, 3), keepdim=True)


class ConvNorm(nn.Module):
    """Convolution, batch normalisation, ReLU.

    `padded` keeps the size; `zero_sum` constrains filters to sum to zero.
    """

    def __init__(
        self,
        channels_in: int,
        channels_out: int,
        kernel: int = 3,
        stride: int = 1,
        *,
        padded: bool = False,
        zero_sum: bool = False,
    ) -> None:
        super().__init__()
        padding = kernel // 2 if padded else 0
        self.conv = nn.Conv2d(channels_in, channels_out, kernel, stride, padding, bias=False)
        self.norm: nn.Module = nn.BatchNorm2d(channels_out)
        nn.init.kaiming_normal_(self.conv.weight, nonlinearity="relu")
        if zero_sum:
            register_parametrization(self.conv, "weight", ZeroSum())

    def forward(self, x: Tensor) -> Tensor:
        """`[N, in, H, W]` -> `[N, out, h, w]`."""
        return F.relu(self.norm(self.conv(x)), inplace=True)

    def fuse(self) -> None:
        """Fold batch normalisation into the convolution, in place, for inference."""
        if isinstance(self.norm, nn.Identity):
            return
        norm = cast("nn.BatchNorm2d", self.norm)
        self.conv = fuse_conv_bn_eval(self.conv.eval(), norm.eval())
        self.norm = nn.Identity()


class ResidualBlock(nn.Module):
    """Residual 3x3 convolution, `[N, C, h, w]` -> the same shape."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = ConvNorm(channels, channels, padded=True)

    def forward(self, x: Tensor) -> Tensor:
        """X + conv(x)."""
        return cast("Tensor", x + self.conv(x))


class Projection(nn.Module):
    """Batch normalisation of concatenated inputs of any scale, then a 1x1 `ConvNorm`."""

    def __init__(self, channels_in: int, channels_out: int) -> None:
        super().__init__()
        self.norm: nn.Module = nn.BatchNorm2d(channels_in)
        self.conv = ConvNorm(channels_in, channels_out, kernel=1)

    def forward(self, inputs: list[Tensor]) -> Tensor:
        """Tensors `[N, *, h, w]` of `channels_in` channels in all -> `[N, channels_out, h, w]`."""
        return cast("Tensor", self.conv(self.norm(torch.cat(inputs, dim=1))))

    @torch.no_grad()
    def initialise_from(self, other: Projection) -> None:
        """Copy the strongest outputs of another one, restricted to its last inputs, in place.

        Args:
            other: With at least as many inputs, the last of which are the same features.
        """
        inputs = self.conv.conv.in_channels
        weight = other.conv.conv.weight[:, -inputs:]
        strongest = weight.abs().sum((1, 2, 3)).argsort(descending=True, stable=True)
        chosen = strongest[: self.conv.conv.out_channels]
        ours = slice(0, len(chosen))
        self.conv.conv.weight[ours] = weight[chosen]
        for mine, theirs, to, of in (
            (self.norm, other.norm, slice(None), slice(-inputs, None)),
            (self.conv.norm, other.conv.norm, ours, chosen),
        ):
            state = theirs.state_dict()
            for name, values in mine.state_dict().items():
                if values.ndim:
                    values[to] = state[name][of]

    def fuse(self) -> None:
        """Fold both batch normalisations into the convolution, in place, for inference."""
        if isinstance(self.norm, nn.Identity):
            return
        self.conv.fuse()
        norm, conv = cast("nn.BatchNorm2d", self.norm), self.conv.conv
        mean, variance = cast("Tensor", norm.running_mean), cast("Tensor", norm.running_var)
        scale = norm.weight * torch.rsqrt(variance + norm.eps)
        shift = norm.bias - mean * scale
        cast("Tensor", conv.bias).data += conv.weight.data[:, :, 0, 0] @ shift.data
        conv.weight.data *= scale.data[:, None, None]
        self.norm = nn.Identity()


def fused(model: M) -> M:
    """Copy of a network for inference: batch normalisation folded, channels-last, eval mode."""
    model = copy.deepcopy(model).eval()
    for module in model.modules():
        if is_parametrized(module, "weight"):
            weight = nn.Parameter(cast("Tensor", module.weight).detach())
            # `remove_parametrizations` would change the class, which original and copy share.
            module.__class__ = type_before_parametrizations(module)
            del module.parametrizations
            module.weight = weight
    for module in model.modules():
        if isinstance(module, ConvNorm | Projection | LocationFiLM):
            module.fuse()
    return model.to(memory_format=torch.channels_last)  # type: ignore[call-overload, no-any-return]


class LocationFiLM(nn.Module):
    """FiLM of features by sensor location, 1x1 (Perez et al., FiLM: Visual Reasoning, 2018)."""

    def __init__(self, channels: int, hidden: int = 32) -> None:
        super().__init__()
        self.net = nn.Sequential(
            nn.Conv2d(6, hidden, 1), nn.ReLU(), nn.Conv2d(hidden, 2 * channels, 1)
        )
        last = cast("nn.Conv2d", self.net[2])
        nn.init.zeros_(last.weight)
        nn.init.zeros_(cast("Tensor", last.bias))
        self._cached = False
        self._known: tuple[Tensor, Tensor] | None = None

    def forward(self, features: Tensor, location: Tensor) -> Tensor:
        """Features `[N, C, h, w]` at sensor locations `[N, 2, h, w]` (or one N for all)."""
        scale, shift = self._at(location).chunk(2, dim=1)
        return torch.addcmul(features + shift, features, scale)

    def fuse(self) -> None:
        """Cache scale and shift: photos of one size and camera have the same locations."""
        self._cached = True

    def _at(self, location: Tensor) -> Tensor:
        """Scale and shift `[N, 2 C, h, w]` of locations."""
        if torch.compiler.is_exporting():  # a graph depends on neither values nor strides
            return self._computed(location.contiguous())
        if not self._cached or location.is_cuda:  # comparing would stall a GPU
            return self._computed(location)
        if self._known is None or not torch.equal(self._known[0], location):
            self._known = location.clone(), self._computed(location)
        return self._known[1]

    def _computed(self, location: Tensor) -> Tensor:
        x, y = location[:, :1], location[:, 1:]
        basis = torch.cat([x, y, x * x, y * y, x * y, (x * x + y * y).square()], dim=1)
        return cast("Tensor", self.net(basis))


class LaplaceHead(nn.Module):
    """A Laplace distribution over the bins: unimodal, for comparison.

    What regression with aleatoric uncertainty assumes (Kendall and Gal, What Uncertainties Do We
    Need in Bayesian Deep Learning for Computer Vision?, 2017), discretised.
    """

    position: Tensor

    def __init__(self, channels: int, bins: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, 2, 1)
        self.min_scale = 1 / bins
        self.register_buffer(
            "position", torch.linspace(-1, 1, bins)[:, None, None], persistent=False
        )

    def forward(self, x: Tensor) -> Tensor:
        """`[N, channels, h, w]` -> logits `[N, bins, h, w]`."""
        middle, scale = self.conv(x).split(1, dim=1)
        distance: Tensor = (self.position - middle).abs()
        return -distance / (F.softplus(scale) + self.min_scale)


def build_head(params: TeacherParams, channels: int, bins: int) -> nn.Module:
    """The head of teacher or student: `[N, channels, h, w]` -> logits `[N, bins, h, w]`."""
    if params.form == "laplace":
        return LaplaceHead(channels, bins)
    return nn.Conv2d(channels, bins, 1)
