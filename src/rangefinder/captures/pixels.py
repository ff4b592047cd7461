"""Parts of pictures, read from where they lie: training holds no copy of its captures."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from rangefinder.captures import images
from rangefinder.captures.manifest import CaptureSet

KEEP_BYTES = 2**30  # memory for decoded pictures of formats that cannot be read in parts


@dataclass(frozen=True)
class _Place:
    """Where the rows of an uncompressed TIFF begin in its file, and the type of its samples."""

    offset: int
    dtype: str


class Pixels:
    """Pictures of captures as 16-bit linear light, whole or in parts.

    Uncompressed 16-bit TIFF, which is what captures are written as, is read row by row where it
    lies; the operating system keeps in its cache what memory allows. Other pictures are decoded
    once and kept, as long as they fit into `KEEP_BYTES`.

    Args:
        captures: The captures.
    """

    def __init__(self, captures: CaptureSet) -> None:
        table = captures.table
        self.captures = captures
        self.sizes = [
            (int(h), int(w)) for h, w in zip(table["height_px"], table["width_px"], strict=True)
        ]
        self.placements = [captures.placement(index) for index in range(len(captures))]
        self._paths = [captures.folder / name for name in table["image"]]
        self._places: dict[int, _Place | None] = {}
        self._kept: dict[int, Tensor] = {}
        self._kept_bytes = 0

    def crop(self, index: int, top: int, left: int, height: int, width: int) -> Tensor:
        """A part of picture `index`: `[3, height, width]` float32 linear light 0..1.

        Raises:
            CaptureError: If the picture cannot be read or has another size than its row says.
        """
        part = self._stored(index, top, height)
        if part is None:
            part = self._decoded(index)[top : top + height]
        chosen = part[:, left : left + width].float().div_(images.FULL_SCALE)
        return chosen.movedim(-1, 0).contiguous()

    def _stored(self, index: int, top: int, rows: int) -> Tensor | None:
        """Rows `[rows, W, 3]` uint16 read from the file, or None if only decoding helps."""
        if index not in self._places:
            self._places[index] = _place(self._paths[index], self.sizes[index])
        place = self._places[index]
        if place is None:
            return None
        row = 3 * self.sizes[index][1]
        start = place.offset + 2 * row * top
        data = np.fromfile(self._paths[index], place.dtype, count=row * rows, offset=start)
        if data.size != row * rows:  # shorter than it was: let decoding tell what is wrong
            return None
        return torch.from_numpy(data.astype(np.uint16, copy=False).reshape(rows, -1, 3))

    def _decoded(self, index: int) -> Tensor:
        if index in self._kept:
            return self._kept[index]
        picture = torch.from_numpy(images.quantise(self.captures.image(index)))
        if self._kept_bytes + picture.nbytes <= KEEP_BYTES:
            self._kept[index] = picture
            self._kept_bytes += picture.nbytes
        return picture


def _place(path: Path, size: tuple[int, int]) -> _Place | None:
    """Where the samples of a picture `size` (height, width) lie, if they lie there plainly."""
    if path.suffix.lower() not in images.TIFF_SUFFIXES:
        return None
    import tifffile

    try:
        with tifffile.TiffFile(path) as file:
            page = file.pages.first
            plain = page.is_memmappable and page.dtype == np.uint16 and page.shape == (*size, 3)
            return _Place(page.dataoffsets[0], f"{file.byteorder}u2") if plain else None
    except (OSError, ValueError):
        return None
