"""The student: a whole photo and every pixel's place on the sensor -> distribution per cell."""

from __future__ import annotations

import itertools
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from rangefinder.config import StudentParams, TeacherParams
from rangefinder.models.agreement import agreed_logits
from rangefinder.models.borders import Borders
from rangefinder.models.clipping import silent_where_clipped
from rangefinder.models.energies import COMPARED, Products
from rangefinder.models.heads import build_head
from rangefinder.models.lattice import Lattice, refined
from rangefinder.models.layers import ConvNorm, LocationModulation, Look, Mix
from rangefinder.models.stem import Stem
from rangefinder.models.teacher import Teacher

WINDOWS = (5, 3, 3)  # cells along a side that each level averages colours over


class Comparison(nn.Module):
    """Comparison of the colours at half the resolution, hence over a wider neighbourhood.

    Args:
        filters: Filters per colour.
        channels: Channels that come out.
        window: Cells of the input along a side that are averaged, odd.
    """

    def __init__(self, filters: int, channels: int, window: int) -> None:
        super().__init__()
        self.window = window
        self.mix = Mix(COMPARED * filters, channels)

    def forward(self, products: Products) -> tuple[Tensor, Products]:
        """Products of a level -> features `[N, channels, h/2, w/2]` and products of the next."""
        mean = products.each(self._mean)
        return self.mix(mean.compared()), mean

    def _mean(self, x: Tensor) -> Tensor:
        return F.avg_pool2d(x, self.window, 2, self.window // 2, count_include_pad=False)


class Level(nn.Module):
    """Halve the resolution, compare the colours, and take the place into account.

    Args:
        channels_in: Channels of the finer level.
        channels_out: Channels of this one.
        filters: Filters per colour; 0: none.
        window: See `Comparison`.
        location: Let the place on the sensor have its say.
    """

    def __init__(
        self, channels_in: int, channels_out: int, filters: int, window: int, *, location: bool
    ) -> None:
        super().__init__()
        self.reduce = ConvNorm(channels_in, channels_out, stride=2, padded=True)
        self.comparison = Comparison(filters, channels_out, window) if filters else None
        self.modulation = LocationModulation(channels_out) if location else None

    def forward(
        self, x: Tensor, products: Products | None, location: Tensor
    ) -> tuple[Tensor, Products | None]:
        """Cell i of the result is centred on cell 2 i of the input.

        Args:
            x: `[N, in, h, w]` features of the finer level.
            products: Of the finer level, or None without filters.
            location: `[N, 2, h/2, w/2]` places of this level's cells.

        Returns:
            Features `[N, out, h/2, w/2]`, and the products of this level.
        """
        x = self.reduce(x)
        if self.comparison is not None:
            found, products = self.comparison(products)
            x = x + found
        if self.modulation is not None:
            x = self.modulation(x, location)
        return x, products


class Student(nn.Module):
    """Encoder-decoder over the whole photo whose early layers have the teacher's shape.

    In training every cell answers for itself; in evaluation overexposed cells say nothing, and
    neighbours that look alike answer together.

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
        widths = itertools.pairwise((early, *params.channels))
        self.levels = nn.ModuleList(
            Level(*pair, teacher.filters, window, location=params.location)
            for pair, window in zip(widths, WINDOWS, strict=True)
        )
        self.look32 = Look(coarse)
        self.up16 = nn.Conv2d(coarse, middle, 1)
        self.up8 = nn.Conv2d(middle, fine, 1)
        self.look16 = Look(middle)
        self.look8 = Look(fine)
        self.up4 = nn.Conv2d(fine, early, 1)
        self.mix = ConvNorm(early, early, kernel=1)
        self.head = build_head(teacher, early, bins)
        self.borders = Borders() if params.laid_charts else None

    def begin_with(self, teacher: Teacher) -> None:
        """Take over the teacher's early layers, and how it compares colours as a start."""
        self.stem.load_state_dict(teacher.stem.state_dict())
        for level in self.levels:
            comparison = cast("Level", level).comparison
            if comparison is not None:
                comparison.mix.begin_with(teacher.mix)

    def forward(self, image: Tensor, location: Tensor) -> Tensor:
        """Predict.

        Args:
            image: `[N, 3, H, W]` linear light.
            location: `[N, 2, H, W]` sensor place of every pixel centre.

        Returns:
            `[N, bins, h, w]` logits on `lattice`: h = ceil(H / 4), w = ceil(W / 4).
        """
        logits = self.alone(image, location)
        if self.training:
            return logits
        logits = silent_where_clipped(logits, image, Stem.stride_px)
        if self.params.agreement_sd is None:
            return logits
        seen, borders = self.stem.seen(image), self.borders_in(image)
        return agreed_logits(logits, seen, Stem.stride_px, self.params.agreement_sd, borders)

    def alone(self, image: Tensor, location: Tensor) -> Tensor:
        """What every cell says for itself, logits as above."""
        return cast("Tensor", self.head(self.features(image, location)))

    def features(self, image: Tensor, location: Tensor) -> Tensor:
        """What answers are made of, `[N, C, h, w]`."""
        at4, products = self.stem.centred(image)
        found, stride = [at4], Stem.stride_px
        for level in self.levels:
            stride *= 2
            x, products = level(found[-1], products, location[:, :, ::stride, ::stride])
            found.append(x)
        return self._decoded(found)

    def borders_in(self, image: Tensor) -> Tensor | None:
        """See `Borders`; None from a student that was not shown where things end."""
        return None if self.borders is None else self.borders(self.stem.seen(image))

    def _decoded(self, found: list[Tensor]) -> Tensor:
        """Features at strides 4, 8, 16 and 32 -> features of the cells."""
        at4, at8, at16, at32 = found
        at16 = self.look16(refined(self.up16(self.look32(at32)), at16))
        at8 = self.look8(refined(self.up8(at16), at8))
        return cast("Tensor", self.mix(refined(self.up4(at8), at4)))


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
