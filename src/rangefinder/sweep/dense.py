"""Dense (fully convolutional) passes of a patch network at any stride, and tiles with halo."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from rangefinder.coordinates import PatchGrid
from rangefinder.errors import ModelError

Predict = Callable[[Tensor, Tensor], Tensor]
Locate = Callable[[PatchGrid], Tensor]


@dataclass(frozen=True)
class Tile:
    """A block of the patch grid, and the pixels of its patches (halo included)."""

    rows: slice
    cols: slice
    y_px: slice
    x_px: slice


def tiles_of(grid: PatchGrid, side_px: int) -> Iterator[Tile]:
    """Cut a grid into tiles of about equal size, row by row.

    Args:
        grid: The patches.
        side_px: Largest side of a tile [px], its halo included; one patch at least.
    """
    largest = max(1, (side_px - grid.patch_px) // grid.stride_px + 1)
    rows, cols = _parts(grid.rows, largest), _parts(grid.cols, largest)
    left, top = grid.origin_px
    for down, right in itertools.product(rows, cols):
        yield Tile(down, right, _pixels(grid, top, down), _pixels(grid, left, right))


def _parts(count: int, largest: int) -> list[slice]:
    parts = -(-count // largest)
    edges = [count * i // parts for i in range(parts + 1)]
    return [slice(a, b) for a, b in itertools.pairwise(edges)]


def _pixels(grid: PatchGrid, origin_px: int, cells: slice) -> slice:
    first = origin_px + cells.start * grid.stride_px
    return slice(first, first + (cells.stop - cells.start - 1) * grid.stride_px + grid.patch_px)


def assemble(grid: PatchGrid, parts: Iterable[tuple[slice, slice, Tensor]]) -> Tensor:
    """Put parts of a grid together.

    Args:
        grid: The whole grid.
        parts: Rows, columns, and the probabilities there `[r, c, bins]`.

    Returns:
        `[rows, cols, bins]`; the first part itself if it is the whole grid.
    """
    whole: Tensor | None = None
    for rows, cols, probs in parts:
        if probs.shape[:2] == (grid.rows, grid.cols):
            return probs
        if whole is None:
            whole = probs.new_empty(grid.rows, grid.cols, probs.shape[2])
        whole[rows, cols] = probs
    assert whole is not None
    return whole


def passes(stride_px: int, native_px: int) -> tuple[int, int]:
    """Shifts along each axis, and the n of which every n-th output along an axis is kept.

    Args:
        stride_px: Stride of the patch grid.
        native_px: Stride of the network.
    """
    common = math.gcd(stride_px, native_px)
    return native_px // common, stride_px // common


def dense_pass(
    predict: Predict, locate: Locate, image: Tensor, grid: PatchGrid, native_px: int
) -> Tensor:
    """Predict every patch of a grid by shifted passes over the image.

    Args:
        predict: Images `[1, 3, h, w]` and locations `[1, 2, r, c]` -> probabilities
            `[1, r, c, bins]`.
        locate: Location of every patch centre of a grid, `[2, r, c]`.
        image: `[3, H, W]`.
        grid: The patches.
        native_px: Stride of the network.

    Returns:
        `[rows, cols, bins]`.

    Raises:
        ModelError: If the network's output is on another lattice.
    """
    shifts, keep = passes(grid.stride_px, native_px)
    batch = image[None].contiguous(memory_format=torch.channels_last)

    def parts() -> Iterator[tuple[slice, slice, Tensor]]:
        rows, cols = range(min(shifts, grid.rows)), range(min(shifts, grid.cols))
        for row, col in itertools.product(rows, cols):
            shifted = _shifted(grid, native_px, row, col)
            left, top = shifted.origin_px
            pixels = batch[:, :, top : shifted.height_px, left : shifted.width_px]
            probs = predict(pixels, locate(shifted)[None])[0]
            _require_lattice(probs, shifted)
            yield slice(row, None, shifts), slice(col, None, shifts), probs[::keep, ::keep]

    return assemble(grid, parts())


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
            "the network's output is on another lattice than its patches",
            got=f"{probs.shape[0]}x{probs.shape[1]} cells",
            expected=f"{grid.rows}x{grid.cols}, every {grid.stride_px} px",
            todo="Sweep it by patch loop.",
        )
