"""Pixels of captures, whole or in parts, mapped or kept in memory."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from rangefinder.captures.formats import TIFF_SUFFIXES
from rangefinder.captures.images import FULL_SCALE, quantise
from rangefinder.captures.manifest import CaptureSet

Samples = NDArray[np.uint16]
KEEP_BYTES = 2**30  # memory for decoded pictures of formats that cannot be read in parts


class Pixels:
    """Pictures of captures as 16-bit linear light, whole or in parts.

    Uncompressed 16-bit TIFF, the format captures are written in, is memory-mapped (files are
    replaced, never changed). Other pictures are decoded once and kept, up to `KEEP_BYTES`.
    """

    def __init__(self, captures: CaptureSet) -> None:
        table = captures.table
        self.captures = captures
        self.sizes = [
            (int(h), int(w)) for h, w in zip(table["height_px"], table["width_px"], strict=True)
        ]
        self.placements = [captures.placement(index) for index in range(len(captures))]
        self._maps: dict[int, Samples | None] = {}
        self._kept: dict[int, Tensor] = {}
        self._kept_bytes = 0

    def crop(self, index: int, top: int, left: int, height: int, width: int) -> Tensor:
        """A part of picture `index`: `[3, height, width]` float32 linear light 0..1.

        Raises:
            CaptureError: If the picture cannot be read or has another size than in its row.
        """
        if index not in self._maps:
            path = cast("Path", self.captures.file(index, "image"))
            self._maps[index] = _mapped(path, self.sizes[index])
        samples = self._maps[index]
        if samples is None:
            samples = self._decoded(index).numpy()
        part = samples[top : top + height, left : left + width]
        planes = part.transpose(2, 0, 1).astype(np.uint16, order="C")
        return torch.from_numpy(planes).float().div_(FULL_SCALE)

    def same_placement(self, wanted: Sequence[bool]) -> list[list[int]]:
        """Indices of the wanted pictures in groups of one size at one place of the sensor."""
        groups: dict[object, list[int]] = {}
        for index in np.flatnonzero(wanted).tolist():
            groups.setdefault((self.sizes[index], self.placements[index]), []).append(index)
        return list(groups.values())

    def _decoded(self, index: int) -> Tensor:
        if index in self._kept:
            return self._kept[index]
        picture = torch.from_numpy(quantise(self.captures.image(index)))
        if self._kept_bytes + picture.nbytes <= KEEP_BYTES:
            self._kept[index] = picture
            self._kept_bytes += picture.nbytes
        return picture


def _mapped(path: Path, size: tuple[int, int]) -> Samples | None:
    """Memory map `[H, W, 3]` of a picture of `size`; None if it is stored in another way."""
    if path.suffix.lower() not in TIFF_SUFFIXES:
        return None
    import tifffile

    try:
        with tifffile.TiffFile(path) as file:
            page = file.pages.first
            plain = page.is_memmappable and page.dtype == np.uint16 and page.shape == (*size, 3)
            if not plain:
                return None
            start = page.dataoffsets[0]
            return np.memmap(path, f"{file.byteorder}u2", "r", start, page.shape)
    except (OSError, ValueError):
        return None
