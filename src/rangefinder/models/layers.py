"""Building blocks of both networks: encoding, convolutions with normalisation, location."""

from __future__ import annotations

import copy
import itertools
from typing import TypeVar, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.fusion import fuse_conv_bn_eval

from rangefinder.config import TeacherParams

M = TypeVar("M", bound=nn.Module)

DARK = 0.02  # added before the logarithm: about the light where read noise takes over
ROOT_GAIN = 4.0  # brings both encodings to the same size
ENCODED = 6  # channels that `encode` makes


def encode(image: Tensor) -> Tensor:
    """Linear light `[N, 3, H, W]` -> its logarithm and its square root, `[N, 6, H, W]`.

    In the logarithm exposure and white balance are offsets. The square root has the same photon
    noise everywhere (Anscombe 1948), which tells faint texture from noise.
    """
    light = image.clamp(min=0)
    return torch.cat([torch.log(light + DARK), ROOT_GAIN * torch.sqrt(light)], dim=1)


class ZeroSumConv2d(nn.Conv2d):
    """Convolution whose every filter plane sums to zero.

    It sees no offsets, so in the logarithm neither exposure nor white balance.
    """

    def zero_sum_weight(self) -> Tensor:
        """Filters `[out, in, k, k]` as applied."""
        return self.weight - self.weight.mean(dim=(2, 3), keepdim=True)

    def forward(self, x: Tensor) -> Tensor:
        """Apply to `[N, in, H, W]`."""
        return F.conv2d(x, self.zero_sum_weight(), self.bias, self.stride)


class ConvNorm(nn.Module):
    """Valid convolution, batch normalisation, ReLU; `pad` makes it size-keeping by replication.

    Args:
        channels_in: Input channels.
        channels_out: Output channels.
        kernel: Side of the filters, odd.
        stride: Step.
        zero_sum: Let the filters sum to zero.
    """

    def __init__(
        self,
        channels_in: int,
        channels_out: int,
        kernel: int = 3,
        stride: int = 1,
        *,
        zero_sum: bool = False,
    ) -> None:
        super().__init__()
        conv_class = ZeroSumConv2d if zero_sum else nn.Conv2d
        self.conv: nn.Conv2d = conv_class(channels_in, channels_out, kernel, stride, bias=False)
        self.norm: nn.Module = nn.BatchNorm2d(channels_out)
        nn.init.kaiming_normal_(self.conv.weight, nonlinearity="relu")

    def forward(self, x: Tensor, *, pad: bool = False) -> Tensor:
        """`[N, in, H, W]` -> `[N, out, h, w]`."""
        margin = self.conv.kernel_size[0] // 2
        if pad and margin:
            x = F.pad(x, (margin,) * 4, mode="replicate")
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
            bias=False,
        ).to(self.conv.weight.device)
        weight = self.conv.weight
        if isinstance(self.conv, ZeroSumConv2d):
            weight = self.conv.zero_sum_weight()
        conv.weight.data.copy_(weight.detach())
        norm = cast("nn.BatchNorm2d", self.norm)
        self.conv = fuse_conv_bn_eval(conv.eval(), norm.eval())
        self.norm = nn.Identity()


def fused(model: M) -> M:
    """Copy of a network for inference: normalisation folded in, channels-last, evaluation mode."""
    model = copy.deepcopy(model).eval()
    for module in model.modules():
        if isinstance(module, ConvNorm):
            module.fuse()
    return model.to(memory_format=torch.channels_last)  # type: ignore[call-overload, no-any-return]


class Stem(nn.Module):
    """Early layers, total stride 4: what teacher and student share.

    Args:
        params: Widths, and how many of the teacher's blocks belong to the early layers.
    """

    stride_px = 4

    def __init__(self, params: TeacherParams) -> None:
        super().__init__()
        fine, coarse = params.stem_channels
        self.first = ConvNorm(ENCODED, fine, kernel=5, stride=2, zero_sum=True)
        self.second = ConvNorm(fine, coarse, kernel=3, stride=2)
        widths = [coarse] + [params.channels] * params.stem_blocks
        self.blocks = nn.ModuleList(ConvNorm(a, b) for a, b in itertools.pairwise(widths))
        self.channels = widths[-1]

    def forward(self, image: Tensor, *, pad: bool = False) -> Tensor:
        """Linear light `[N, 3, H, W]` -> features `[N, C, h, w]`.

        Without `pad` (teacher) feature (0, 0) sees a patch at the image's corner; with it (student)
        feature i is centred on pixel 4 i, so both lattices coincide.
        """
        features = self.second(self.first(encode(image), pad=pad), pad=pad)
        for block in self.blocks:
            features = block(features, pad=pad)
        return cast("Tensor", features)


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

    def forward(self, features: Tensor, location: Tensor) -> Tensor:
        """Features `[N, C, h, w]` at sensor places `[N, 2, h, w]` (or one N for all)."""
        x, y = location[:, :1], location[:, 1:]
        basis = torch.cat([x, y, x * x, y * y, x * y, (x * x + y * y).square()], dim=1)
        scale, shift = self.net(basis).chunk(2, dim=1)
        return torch.addcmul(features + shift, features, scale)
