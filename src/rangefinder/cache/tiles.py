"""Tiles: parts of a patch grid, each with the pixels that its patches need (its halo included)."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from rangefinder.location import PatchGrid


class Pixels(Protocol):
    """An image `[3, H, W]` of which parts can be read: a tensor, an array, a memory map, a reader.

    Integers are taken as shares of their full scale.
    """

    @property
    def shape(self) -> Any:
        """(3, H, W)."""

    def __getitem__(self, index: Any, /) -> Any:
        """Part of the image, by slices."""


class NpyImage:
    """An image in a `.npy` file, mapped anew for every part so that no page stays in memory.

    Args:
        path: File of an array `[3, H, W]`.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.shape: tuple[int, ...] = np.load(path, mmap_mode="r").shape

    def __getitem__(self, index: Any) -> NDArray[Any]:
        """A copy of part of the image."""
        return np.array(np.load(self.path, mmap_mode="r")[index])


@dataclass(frozen=True)
class Tile:
    """Some neighbouring patches.

    Attributes:
        rows: Which rows of the grid.
        cols: Which columns of the grid.
        left: First pixel column of the patches.
        top: First pixel row.
        right: Pixel column after the last.
        bottom: Pixel row after the last.
    """

    rows: slice
    cols: slice
    left: int
    top: int
    right: int
    bottom: int

    def read(self, image: Pixels) -> Tensor:
        """The tile's pixels `[3, h, w]` as float32."""
        part = image[:, self.top : self.bottom, self.left : self.right]
        if isinstance(part, Tensor):
            return part
        array = np.asarray(part)
        if np.issubdtype(array.dtype, np.integer):
            return torch.from_numpy(array.astype(np.float32) / np.iinfo(array.dtype).max)
        return torch.from_numpy(array.astype(np.float32))


def tiles_of(grid: PatchGrid, side_px: int) -> Iterator[Tile]:
    """Cut a grid into tiles of about equal size, row by row.

    Args:
        grid: The patches.
        side_px: Largest side of a tile in pixels, its halo included; one patch at least.
    """
    most = max(1, (side_px - grid.patch_px) // grid.stride_px + 1)
    for rows in _pieces(grid.rows, most):
        top, bottom = _extent(grid, grid.origin_px[1], rows)
        for cols in _pieces(grid.cols, most):
            left, right = _extent(grid, grid.origin_px[0], cols)
            yield Tile(rows, cols, left, top, right, bottom)


def _pieces(count: int, most: int) -> list[slice]:
    pieces = -(-count // most)
    edges = [count * i // pieces for i in range(pieces + 1)]
    return [slice(a, b) for a, b in itertools.pairwise(edges)]


def _extent(grid: PatchGrid, origin_px: int, cells: slice) -> tuple[int, int]:
    first = origin_px + cells.start * grid.stride_px
    last = origin_px + (cells.stop - 1) * grid.stride_px
    return first, last + grid.patch_px
