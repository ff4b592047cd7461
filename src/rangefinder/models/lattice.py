"""Values on a regular lattice of an image, read at other places of the same image."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F


@dataclass(frozen=True)
class Lattice:
    """Where cells of a network's output sit: cell i at `first_px + i * stride_px` [image px]."""

    first_px: float
    stride_px: float

    def positions(self, count: int) -> Tensor:
        """Places of the first `count` cells [image px], `[count]`."""
        return self.first_px + self.stride_px * torch.arange(count, dtype=torch.float32)


def resample(values: Tensor, lattice: Lattice, y_px: Tensor, x_px: Tensor) -> Tensor:
    """Bilinear interpolation of lattice values; beyond the outermost cells they stay constant.

    Args:
        values: `[N, C, h, w]` values on the lattice (the same along both axes).
        lattice: Where they sit.
        y_px: `[H]` rows wanted [image px].
        x_px: `[W]` columns wanted [image px].

    Returns:
        `[N, C, H, W]`.
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
    if not bool(fraction.any()):
        return _picked(values, index, dim)
    here = values.index_select(dim, index)
    after = values.index_select(dim, (index + 1).clamp(max=size - 1))
    return torch.lerp(here, after, fraction)


def _picked(values: Tensor, index: Tensor, dim: int) -> Tensor:
    """Those cells; neighbours in a row without a copy, whose gradient costs nothing either."""
    first = int(index[0])
    if torch.equal(index, torch.arange(first, first + len(index), device=index.device)):
        return values.narrow(dim, first, len(index))
    return values.index_select(dim, index)


def refined(coarse: Tensor, fine: Tensor) -> Tensor:
    """Add a level of half the resolution: odd cells get the mean of what their neighbours get.

    Args:
        coarse: `[N, C, h, w]`.
        fine: `[N, C, H, W]`, h = ceil(H / 2), w = ceil(W / 2).

    Returns:
        `[N, C, H, W]`.
    """
    height, width = fine.shape[-2:]
    x = F.pad(coarse, (0, 1, 0, 1), mode="replicate")
    size = (2 * (x.shape[-2] - 1) + 1, 2 * (x.shape[-1] - 1) + 1)
    big = F.interpolate(x, size=size, mode="bilinear", align_corners=True)
    return fine + big[..., :height, :width]


def mean_around_cells(image: Tensor, window_px: int, stride_px: int) -> Tensor:
    """Mean over a window around pixel `stride_px` i for each cell i; the image goes on as it ends.

    Args:
        image: `[N, C, H, W]`.
        window_px: Side of the window.
        stride_px: Pixels from one cell to the next.

    Returns:
        `[N, C, ceil(H / stride_px), ceil(W / stride_px)]`.
    """
    before, after = (window_px - 1) // 2, window_px // 2
    padded = F.pad(image, (before, after, before, after), mode="replicate")
    return F.avg_pool2d(padded, window_px, stride_px)
