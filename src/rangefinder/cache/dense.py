"""A patch network in passes over whole images, for patches at any stride.

A dense network answers at its own stride from whichever pixel it starts at. Patches that lie closer
come from passes that start a few pixels further on; patches that lie wider apart are picked out of
a pass. Strides that do not divide need both: with g the common divisor of the two strides, n / g
shifts along each axis, of which every (s / g)-th answer is kept (n: the network's stride, s: that
of the grid).
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

from rangefinder.errors import ModelError
from rangefinder.location import PatchGrid

Predict = Callable[[Tensor, Tensor], Tensor]
Locate = Callable[[PatchGrid], Tensor]


def passes(stride_px: int, native_px: int) -> tuple[int, int]:
    """Shifts along each axis, and which share of answers is kept along each axis (every n-th).

    Args:
        stride_px: Stride of the patches wanted.
        native_px: Stride of the network.
    """
    common = math.gcd(stride_px, native_px)
    return native_px // common, stride_px // common


def dense_pass(
    predict: Predict, locate: Locate, image: Tensor, grid: PatchGrid, native_px: int
) -> Tensor:
    """Predict every patch of a grid by passes over the image.

    Args:
        predict: Images `[1, 3, h, w]` and location `[1, 2, r, c]` -> probabilities
            `[1, r, c, bins]`.
        locate: Place on the sensor of every patch centre of a grid, `[2, r, c]`.
        image: `[3, H, W]`.
        grid: The patches wanted.
        native_px: Stride of the network.

    Returns:
        `[rows, cols, bins]`.

    Raises:
        ModelError: If the network answers on another lattice.
    """
    shifts, keep = passes(grid.stride_px, native_px)
    batch = image[None].contiguous(memory_format=torch.channels_last)
    whole: Tensor | None = None
    for row in range(min(shifts, grid.rows)):
        for col in range(min(shifts, grid.cols)):
            one = _shifted(grid, native_px, row, col)
            left, top = one.origin_px
            pixels = batch[:, :, top : one.height_px, left : one.width_px]
            probs = predict(pixels, locate(one)[None])[0]
            _require_lattice(probs, one)
            probs = probs[::keep, ::keep]
            if probs.shape[:2] == (grid.rows, grid.cols):
                return probs
            if whole is None:
                whole = probs.new_empty(grid.rows, grid.cols, probs.shape[2])
            whole[row::shifts, col::shifts] = probs
    assert whole is not None
    return whole


def _shifted(grid: PatchGrid, native_px: int, row: int, col: int) -> PatchGrid:
    """The network's own grid that starts at one of the first patches and ends with a patch kept."""
    shifts, keep = passes(grid.stride_px, native_px)
    left, top = (grid.origin_px[i] + grid.stride_px * n for i, n in enumerate((col, row)))

    def end(start: int, first: int, count: int) -> int:
        return start + len(range(first + shifts, count, shifts)) * keep * native_px + grid.patch_px

    height, width = end(top, row, grid.rows), end(left, col, grid.cols)
    return PatchGrid(height, width, grid.patch_px, native_px, (left, top))


def _require_lattice(probs: Tensor, grid: PatchGrid) -> None:
    if probs.shape[:2] != (grid.rows, grid.cols):
        raise ModelError(
            "the network answers on another lattice than that of its patches",
            got=f"{probs.shape[0]}x{probs.shape[1]} answers",
            expected=f"{grid.rows}x{grid.cols}, every {grid.stride_px} px",
            todo="Sweep it by patch loop.",
        )
