"""The student: a whole photo and every pixel's sensor location -> distribution per cell."""

from __future__ import annotations

import itertools
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from rangefinder.config import StudentParams, TeacherParams
from rangefinder.models.aggregation import (
    Cells,
    aggregate,
    cell_log_light,
    uniform_where_saturated,
    weighted_posteriors,
)
from rangefinder.models.blocks import (
    ConvNorm,
    Lattice,
    LocationFiLM,
    Projection,
    ResidualBlock,
    build_head,
    upsample_add,
)
from rangefinder.models.boundaries import BoundaryNetwork
from rangefinder.models.stem import FEATURES_PER_FILTER, SecondMoments, Stem
from rangefinder.models.teacher import Teacher

WINDOWS = (5, 3, 3)  # cells along a side that each level averages second moments over
MIN_PROBABILITY = 1e-30  # before a logarithm


class MomentPooling(nn.Module):
    """Second moments averaged to half the resolution, and the features they give.

    `window` is the side of the average in cells of the input, odd.
    """

    def __init__(self, filters: int, channels: int, window: int) -> None:
        super().__init__()
        self.window = window
        self.projection = Projection(FEATURES_PER_FILTER * filters, channels)

    def forward(self, moments: SecondMoments) -> tuple[Tensor, SecondMoments]:
        """Moments of a level -> features `[N, channels, h/2, w/2]` and moments of the next."""
        mean = moments.each(self._mean)
        return self.projection(mean.features()), mean

    def _mean(self, x: Tensor) -> Tensor:
        return F.avg_pool2d(x, self.window, 2, self.window // 2, count_include_pad=False)


class EncoderLevel(nn.Module):
    """Halves the resolution, adds features of second moments, conditions on location by FiLM."""

    def __init__(
        self, channels_in: int, channels_out: int, filters: int, window: int, *, location: bool
    ) -> None:
        super().__init__()
        self.reduce = ConvNorm(channels_in, channels_out, stride=2, padded=True)
        self.moment_pooling = MomentPooling(filters, channels_out, window) if filters else None
        self.modulation = LocationFiLM(channels_out) if location else None

    def forward(
        self, x: Tensor, moments: SecondMoments | None, location: Tensor
    ) -> tuple[Tensor, SecondMoments | None]:
        """Cell i of the result is centred on cell 2 i of the input.

        Args:
            x: `[N, in, h, w]` features of the finer level.
            moments: Of the finer level, or None without filters.
            location: `[N, 2, h/2, w/2]` sensor location of this level's cells.

        Returns:
            Features `[N, out, h/2, w/2]`, and the moments of this level.
        """
        x = self.reduce(x)
        if self.moment_pooling is not None:
            features, moments = self.moment_pooling(moments)
            x = x + features
        if self.modulation is not None:
            x = self.modulation(x, location)
        return x, moments


class Student(nn.Module):
    """Encoder-decoder over the whole photo (FPN) whose stem has the teacher's shape.

    Args:
        params: Widths, location, aggregation.
        teacher: Shape of the stem and form of the prediction, which are the teacher's.
        bins: Bins of the predictive distribution.
    """

    lattice = Lattice(first_px=0.5, stride_px=Stem.stride_px)
    coarsest_px = 32  # stride of the coarsest level
    reach_px = 128  # from a cell to the farthest pixel that it depends on, before aggregation

    def __init__(self, params: StudentParams, teacher: TeacherParams, bins: int) -> None:
        super().__init__()
        self.params = params
        fine, middle, coarse = params.channels
        self.stem = Stem(teacher)
        width = self.stem.channels
        widths = itertools.pairwise((width, *params.channels))
        self.levels = nn.ModuleList(
            EncoderLevel(*pair, teacher.filters, window, location=params.location)
            for pair, window in zip(widths, WINDOWS, strict=True)
        )
        self.residual32 = ResidualBlock(coarse)
        self.lateral16 = nn.Conv2d(coarse, middle, 1)
        self.lateral8 = nn.Conv2d(middle, fine, 1)
        self.residual16 = ResidualBlock(middle)
        self.residual8 = ResidualBlock(fine)
        self.lateral4 = nn.Conv2d(fine, width, 1)
        self.projection = ConvNorm(width, width, kernel=1)
        self.head = build_head(teacher, width, bins)
        self.boundaries = BoundaryNetwork() if params.composited_scenes else None

    def initialise_from(self, teacher: Teacher) -> None:
        """Copy the teacher's stem, and its projection of moments as a start for each level's."""
        self.stem.load_state_dict(teacher.stem.state_dict())
        for level in self.levels:
            pooling = cast("EncoderLevel", level).moment_pooling
            if pooling is not None:
                pooling.projection.initialise_from(teacher.projection)

    def forward(self, image: Tensor, location: Tensor) -> Tensor:
        """The prediction as logits `[N, bins, h, w]`; see `cells` and `aggregated`.

        Without gradients beyond aggregation; trainings use `cell_logits`.
        """
        probs = self.aggregated(self.cells(image, location))
        return probs.clamp(min=MIN_PROBABILITY).log_().movedim(-1, 1)

    def cells(self, image: Tensor, location: Tensor) -> Cells:
        """Posterior of every cell by itself, uniform where the photo is saturated.

        Args:
            image: `[N, 3, H, W]` linear light.
            location: `[N, 2, H, W]` sensor location of every pixel centre.

        Returns:
            Cells on `lattice`: rows = ceil(H / 4), cols = ceil(W / 4).
        """
        logits = self.cell_logits(image, location)
        logits = uniform_where_saturated(logits, image, Stem.stride_px)
        log_probs = torch.log_softmax(logits.movedim(1, -1).float(), dim=-1)
        log_light = cell_log_light(self.stem.input_colours(image).float(), Stem.stride_px)
        if self.params.aggregation_sd is None:
            return Cells(log_probs.exp(), log_light, None)
        boundaries = self.boundary_logits(image)
        if boundaries is not None:
            boundaries = boundaries.movedim(1, -1)
        return Cells(weighted_posteriors(log_probs), log_light, boundaries)

    def aggregated(self, cells: Cells) -> Tensor:
        """Posteriors `[N, rows, cols, bins]`, aggregated within surfaces; see `aggregate`."""
        if self.params.aggregation_sd is None:
            return cells.weighted
        return aggregate(cells, self.params)

    def cell_logits(self, image: Tensor, location: Tensor) -> Tensor:
        """Logits of every cell before aggregation; arguments and shape as above."""
        return cast("Tensor", self.head(self.features(image, location)))

    def features(self, image: Tensor, location: Tensor) -> Tensor:
        """Features that the head sees, `[N, C, h, w]`."""
        at4, moments = self.stem.centred(image)
        levels, stride = [at4], Stem.stride_px
        for level in self.levels:
            stride *= 2
            x, moments = level(levels[-1], moments, location[:, :, ::stride, ::stride])
            levels.append(x)
        return self._decoded(levels)

    def boundary_logits(self, image: Tensor) -> Tensor | None:
        """See `BoundaryNetwork.forward`; None without a boundary network."""
        return None if self.boundaries is None else self.boundaries(self.stem.input_colours(image))

    def _decoded(self, levels: list[Tensor]) -> Tensor:
        """Features at strides 4, 8, 16 and 32 -> features of the cells."""
        at4, at8, at16, at32 = levels
        at16 = self.residual16(upsample_add(self.lateral16(self.residual32(at32)), at16))
        at8 = self.residual8(upsample_add(self.lateral8(at16), at8))
        return cast("Tensor", self.projection(upsample_add(self.lateral4(at8), at4)))


def full_frame(cells: Tensor, height_px: int, width_px: int) -> Tensor:
    """Student cells `[C, h, w]` -> every pixel `[C, height_px, width_px]`, bilinear, as new memory.

    Cell i sits on pixel 4 i, so the interpolation weights repeat every 4 pixels: ten times faster
    than `resample`, which looks up both neighbours of every pixel.
    """
    stride = int(Student.lattice.stride_px)
    weight = torch.arange(stride, device=cells.device, dtype=cells.dtype) / stride
    (count, rows, cols), wide = cells.shape, cells.new_empty(*cells.shape, stride)
    torch.lerp(cells[..., :-1, None], cells[..., 1:, None], weight, out=wide[..., :-1, :])
    wide[..., -1, :] = cells[..., -1:]
    wide = wide.view(count, rows, cols * stride)[..., :width_px]
    full = cells.new_empty(count, rows, stride, width_px)
    down = wide[:, :, None]
    torch.lerp(down[:, :-1], down[:, 1:], weight[:, None], out=full[:, :-1])
    full[:, -1] = wide[:, -1:]
    return full.view(count, rows * stride, width_px)[:, :height_px].contiguous()
