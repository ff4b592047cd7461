"""The student: a whole photo and every pixel's place on the sensor -> distribution per cell."""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from rangefinder.config import StudentParams, TeacherParams
from rangefinder.models.lattice import Lattice
from rangefinder.models.layers import ConvNorm, LocationModulation, Stem


class Residual(nn.Module):
    """Two size-keeping convolutions around a shortcut, `[N, C, h, w]` -> the same shape."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.first = ConvNorm(channels, channels)
        self.second = ConvNorm(channels, channels)

    def forward(self, x: Tensor) -> Tensor:
        """Add what two convolutions find."""
        return cast("Tensor", x + self.second(self.first(x, pad=True), pad=True))


class Down(nn.Module):
    """Halve the resolution, then look around, `[N, in, h, w]` -> `[N, out, h/2, w/2]`."""

    def __init__(self, channels_in: int, channels_out: int) -> None:
        super().__init__()
        self.reduce = ConvNorm(channels_in, channels_out, stride=2)
        self.look = Residual(channels_out)

    def forward(self, x: Tensor) -> Tensor:
        """Cell i of the result is centred on cell 2 i of the input."""
        return cast("Tensor", self.look(self.reduce(x, pad=True)))


class Student(nn.Module):
    """Encoder-decoder over the whole photo whose early layers have the teacher's shape.

    Args:
        params: Widths, and whether location is given.
        teacher: Shape of the early layers, which is the teacher's.
        bins: Bins of the predictive distribution.
    """

    lattice = Lattice(first_px=0.5, stride_px=Stem.stride_px)

    def __init__(self, params: StudentParams, teacher: TeacherParams, bins: int) -> None:
        super().__init__()
        self.params = params
        fine, middle, coarse = params.channels
        self.stem = Stem(teacher)
        early = self.stem.channels
        self.modulation = LocationModulation(fine) if params.location else None
        self.down8 = Down(early, fine)
        self.down16 = Down(fine, middle)
        self.down32 = Down(middle, coarse)
        self.up16 = nn.Conv2d(coarse, middle, 1)
        self.up8 = nn.Conv2d(middle, fine, 1)
        self.look16 = Residual(middle)
        self.look8 = Residual(fine)
        self.up4 = nn.Conv2d(fine, early, 1)
        self.mix = ConvNorm(early, early, kernel=1)
        self.head = nn.Conv2d(early, bins, 1)

    def forward(self, image: Tensor, location: Tensor) -> Tensor:
        """Predict.

        Args:
            image: `[N, 3, H, W]` linear light.
            location: `[N, 2, H, W]` sensor place of every pixel centre.

        Returns:
            `[N, bins, h, w]` logits on `lattice`: h = ceil(H / 4), w = ceil(W / 4).
        """
        at4 = self.stem(image, pad=True)
        at8 = self.down8(at4)
        if self.modulation is not None:
            at8 = self.modulation(at8, location[:, :, ::8, ::8])
        at16 = self.down16(at8)
        at32 = self.down32(at16)
        at16 = self.look16(at16 + _enlarge(self.up16(at32), at16))
        at8 = self.look8(at8 + _enlarge(self.up8(at16), at8))
        at4 = at4 + _enlarge(self.up4(at8), at4)
        return cast("Tensor", self.head(self.mix(at4)))


def _enlarge(x: Tensor, like: Tensor) -> Tensor:
    """Double the resolution: even cells keep their value, odd ones take their neighbours' mean."""
    height, width = like.shape[-2:]
    x = F.pad(x, (0, 1, 0, 1), mode="replicate")
    size = (2 * (x.shape[-2] - 1) + 1, 2 * (x.shape[-1] - 1) + 1)
    big = F.interpolate(x, size=size, mode="bilinear", align_corners=True)
    return big[..., :height, :width]


def full_frame(cells: Tensor, height_px: int, width_px: int) -> Tensor:
    """Student cells -> every pixel, bilinear; constant beyond the outermost cells.

    Cell i sits on pixel 4 i, so each cell fills the pixels up to the next one by weights that are
    the same everywhere: ten times faster than `lattice.resample`, which looks up both neighbours of
    every pixel.

    Args:
        cells: `[C, h, w]` with h = ceil(height_px / 4), w = ceil(width_px / 4).
        height_px: Rows wanted.
        width_px: Columns wanted.

    Returns:
        `[C, height_px, width_px]`, new memory.
    """
    stride = int(Student.lattice.stride_px)
    weight = torch.arange(stride, device=cells.device, dtype=cells.dtype) / stride
    right = torch.cat([cells[..., 1:], cells[..., -1:]], dim=-1)
    wide = torch.lerp(cells[..., None], right[..., None], weight).flatten(-2)
    below = torch.cat([wide[..., 1:, :], wide[..., -1:, :]], dim=-2)
    full = torch.lerp(wide[..., None, :], below[..., None, :], weight[:, None]).flatten(-3, -2)
    return full[..., :height_px, :width_px].contiguous()
