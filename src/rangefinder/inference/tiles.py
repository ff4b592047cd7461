"""Large photos part by part: a student's cells, before aggregation, tile by tile with halo.

Memory is that of one tile and of the cells, which aggregation needs all at once.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from torch import Tensor

from rangefinder.models.aggregation import Cells
from rangefinder.models.device import return_memory
from rangefinder.models.student import Student

TILE_PX = 1440  # largest side of a tile with its halo; photos of no more pixels are not cut


@dataclass(frozen=True)
class Tile:
    """A part of a photo, its halo included, and its cells without those of the halo."""

    pixels: tuple[slice, slice]  # rows and columns of the photo
    cells: tuple[slice, slice]  # among the photo's cells
    own_cells: tuple[slice, slice]  # the same among the tile's


def tiles(size_px: tuple[int, int], side_px: int = TILE_PX) -> Iterator[Tile]:
    """Cut a photo of `size_px` (height, width) into tiles; a small one is a tile by itself."""
    if math.prod(size_px) <= side_px**2:
        side_px = max(size_px)
    down, across = (_cuts(side, side_px) for side in size_px)
    for (y, row, own_row), (x, column, own_column) in itertools.product(down, across):
        yield Tile((y, x), (row, column), (own_row, own_column))


def _cuts(size_px: int, side_px: int) -> list[tuple[slice, slice, slice]]:
    """Along an axis: pixels of each tile, its cells among the photo's, and among its own."""
    stride, coarsest, halo = int(Student.lattice.stride_px), Student.coarsest_px, Student.reach_px
    step = size_px if size_px <= side_px else (side_px - 2 * halo) // coarsest * coarsest
    cuts = []
    for first in range(0, size_px, step):
        last = min(first + step, size_px)
        start, stop = max(0, first - halo), min(last + halo, size_px)
        cells = slice(first // stride, -(-last // stride))
        before = start // stride
        own = slice(cells.start - before, cells.stop - before)
        cuts.append((slice(start, stop), cells, own))
    return cuts


def cells_by_tiles(
    predict: Callable[[Tile], Cells], size_px: tuple[int, int], side_px: int = TILE_PX
) -> Cells:
    """Cells of a whole photo.

    Args:
        predict: The cells of a tile, those of its halo included.
        size_px: Height and width of the photo.
        side_px: Largest side of a tile.
    """
    rows, columns = (-(-side // int(Student.lattice.stride_px)) for side in size_px)
    whole: list[Tensor | None] = []
    for tile in tiles(size_px, side_px):
        part = predict(tile)
        if part.weighted.shape[1:3] == (rows, columns):
            return part
        whole = whole or [
            None if x is None else x.new_empty(len(x), rows, columns, x.shape[-1]) for x in part
        ]
        for target, found in zip(whole, part, strict=True):
            if target is not None and found is not None:
                target[:, *tile.cells] = found[:, *tile.own_cells]
    return_memory()  # the tiles' is not needed any more
    return Cells(*whole)  # type: ignore[arg-type]
