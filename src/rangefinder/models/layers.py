"""Building blocks of both networks: encoding, convolutions with normalisation, location."""

from __future__ import annotations

import copy
from typing import TypeVar, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.fusion import fuse_conv_bn_eval

M = TypeVar("M", bound=nn.Module)

DARK = 0.02  # added before the logarithm: about the light where read noise takes over
ROOT_GAIN = 4.0  # brings the square root to the size of the logarithm


def log_light(image: Tensor) -> Tensor:
    """Logarithm of linear light, any shape: exposure and white balance are offsets."""
    return image.clamp(min=0).add_(DARK).log_()


def root_light(image: Tensor) -> Tensor:
    """Square root of linear light, any shape: the same photon noise everywhere (Anscombe 1948)."""
    return image.clamp(min=0).mul_(ROOT_GAIN**2).sqrt_()


def zero_sum(filters: Tensor) -> Tensor:
    """Filters `[out, in, k, k]` whose every plane sums to zero."""
    return filters - filters.mean(dim=(2, 3), keepdim=True)


class ZeroSumConv2d(nn.Conv2d):
    """Convolution whose every filter plane sums to zero, so that it sees no offsets."""

    def forward(self, x: Tensor) -> Tensor:
        """Apply to `[N, in, H, W]`."""
        return F.conv2d(x, zero_sum(self.weight), self.bias, self.stride, self.padding)


class ConvNorm(nn.Module):
    """Convolution, batch normalisation, ReLU.

    Args:
        channels_in: Input channels.
        channels_out: Output channels.
        kernel: Side of the filters, odd.
        stride: Step.
        padded: Keep the size, by zeros; else only whole windows answer.
        zero_sum: Let the filters sum to zero.
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
        conv_class = ZeroSumConv2d if zero_sum else nn.Conv2d
        padding = kernel // 2 if padded else 0
        self.conv: nn.Conv2d = conv_class(
            channels_in, channels_out, kernel, stride, padding, bias=False
        )
        self.norm: nn.Module = nn.BatchNorm2d(channels_out)
        nn.init.kaiming_normal_(self.conv.weight, nonlinearity="relu")

    def forward(self, x: Tensor) -> Tensor:
        """`[N, in, H, W]` -> `[N, out, h, w]`."""
        return F.relu(self.norm(self.conv(x)), inplace=True)

    def fuse(self) -> None:
        """Fold normalisation (as in evaluation) into the convolution, in place."""
        if isinstance(self.norm, nn.Identity):
            return
        conv = nn.Conv2d(
            self.conv.in_channels,
            self.conv.out_channels,
            cast("tuple[int, int]", self.conv.kernel_size),
            cast("tuple[int, int]", self.conv.stride),
            cast("tuple[int, int]", self.conv.padding),
            bias=False,
        ).to(self.conv.weight.device)
        weight = self.conv.weight
        if isinstance(self.conv, ZeroSumConv2d):
            weight = zero_sum(self.conv.weight)
        conv.weight.data.copy_(weight.detach())
        norm = cast("nn.BatchNorm2d", self.norm)
        self.conv = fuse_conv_bn_eval(conv.eval(), norm.eval())
        self.norm = nn.Identity()


class Look(nn.Module):
    """A size-keeping convolution beside a shortcut, `[N, C, h, w]` -> the same shape."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.around = ConvNorm(channels, channels, padded=True)

    def forward(self, x: Tensor) -> Tensor:
        """Add what is found around each cell."""
        return cast("Tensor", x + self.around(x))


class Mix(nn.Module):
    """Batch normalisation of what comes from different sources, then `ConvNorm` cell by cell.

    Args:
        channels_in: Input channels, of any scale.
        channels_out: Output channels.
    """

    def __init__(self, channels_in: int, channels_out: int) -> None:
        super().__init__()
        self.norm: nn.Module = nn.BatchNorm2d(channels_in)
        self.mix = ConvNorm(channels_in, channels_out, kernel=1)

    def forward(self, sources: list[Tensor]) -> Tensor:
        """Tensors `[N, *, h, w]` of `channels_in` channels in all -> `[N, channels_out, h, w]`."""
        return cast("Tensor", self.mix(self.norm(torch.cat(sources, dim=1))))

    @torch.no_grad()
    def begin_with(self, other: Mix) -> None:
        """Take over what another one makes of its last inputs: its strongest outputs, in place.

        Args:
            other: With at least as many inputs, the last of which mean the same.
        """
        inputs = self.mix.conv.in_channels
        weight = other.mix.conv.weight[:, -inputs:]
        strongest = weight.abs().sum((1, 2, 3)).argsort(descending=True, stable=True)
        taken = strongest[: self.mix.conv.out_channels]
        ours = slice(0, len(taken))
        self.mix.conv.weight[ours] = weight[taken]
        for mine, theirs, to, of in (
            (self.norm, other.norm, slice(None), slice(-inputs, None)),
            (self.mix.norm, other.mix.norm, ours, taken),
        ):
            state = theirs.state_dict()
            for name, values in mine.state_dict().items():
                if values.ndim:
                    values[to] = state[name][of]

    def fuse(self) -> None:
        """Fold both normalisations into the convolution, in place."""
        if isinstance(self.norm, nn.Identity):
            return
        self.mix.fuse()
        norm, conv = cast("nn.BatchNorm2d", self.norm), self.mix.conv
        mean, variance = cast("Tensor", norm.running_mean), cast("Tensor", norm.running_var)
        scale = norm.weight * torch.rsqrt(variance + norm.eps)
        shift = norm.bias - mean * scale
        cast("Tensor", conv.bias).data += conv.weight.data[:, :, 0, 0] @ shift.data
        conv.weight.data *= scale.data[:, None, None]
        self.norm = nn.Identity()


def fused(model: M) -> M:
    """Copy of a network for inference: normalisation folded in, channels-last, evaluation mode."""
    model = copy.deepcopy(model).eval()
    for module in model.modules():
        if isinstance(module, ConvNorm | Mix | LocationModulation):
            module.fuse()
    return model.to(memory_format=torch.channels_last)  # type: ignore[call-overload, no-any-return]


class LocationModulation(nn.Module):
    """Scale and shift of features by their place on the sensor, cell by cell (1x1).

    Args:
        channels: Channels to modulate.
        hidden: Width of the network from place to modulation.
    """

    def __init__(self, channels: int, hidden: int = 32) -> None:
        super().__init__()
        self.net = nn.Sequential(
            nn.Conv2d(6, hidden, 1), nn.ReLU(), nn.Conv2d(hidden, 2 * channels, 1)
        )
        last = cast("nn.Conv2d", self.net[2])
        nn.init.zeros_(last.weight)
        nn.init.zeros_(cast("Tensor", last.bias))
        self._remembers = False
        self._known: tuple[Tensor, Tensor] | None = None

    def forward(self, features: Tensor, location: Tensor) -> Tensor:
        """Features `[N, C, h, w]` at sensor places `[N, 2, h, w]` (or one N for all)."""
        scale, shift = self._at(location).chunk(2, dim=1)
        return torch.addcmul(features + shift, features, scale)

    def fuse(self) -> None:
        """Remember the last places, because photos of one size and camera share theirs."""
        self._remembers = True

    def _at(self, location: Tensor) -> Tensor:
        """Scale and shift `[N, 2 C, h, w]` of places, whatever is seen there."""
        if not self._remembers or location.is_cuda:  # a GPU would have to wait for the comparison
            return self._computed(location)
        if self._known is None or not torch.equal(self._known[0], location):
            self._known = location.clone(), self._computed(location)
        return self._known[1]

    def _computed(self, location: Tensor) -> Tensor:
        x, y = location[:, :1], location[:, 1:]
        basis = torch.cat([x, y, x * x, y * y, x * y, (x * x + y * y).square()], dim=1)
        return cast("Tensor", self.net(basis))
