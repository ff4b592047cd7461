"""Sweeping an image of any size into a file, tile by tile."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
from torch import Tensor
from tqdm import tqdm

from rangefinder.cache.sweep import Sweep
from rangefinder.cache.tiles import Pixels
from rangefinder.errors import CaptureError
from rangefinder.location import PatchGrid, Placement


def sweep_to_file(
    sweep: Sweep,
    image: Pixels,
    placement: Placement,
    path: Path,
    encode: Callable[[Tensor], Tensor] | None = None,
) -> PatchGrid:
    """Predict every local area of an image and write the result as one `.npy` array.

    The file appears under its name when it is whole. It is mapped anew for every tile, so that
    written pages do not count as this process's memory.

    Args:
        sweep: The teacher.
        image: `[3, H, W]` linear light; `NpyImage` reads one from disk.
        placement: Where it sits on the sensor.
        path: File for `[rows, cols, bins]` float32 probabilities.
        encode: What to store instead, such as `Prediction.pack`: `[r, c, bins]` -> `[r, c, n]`.

    Returns:
        The grid of the predictions.

    Raises:
        CaptureError: If the image is smaller than one patch or has not three channels first.
    """
    if len(image.shape) != 3 or image.shape[0] != 3:
        raise CaptureError(
            "image has another layout", got=tuple(image.shape), expected="[3, height, width]"
        )
    grid, partial = sweep.grid(image), path.with_name(f"{path.name}.partial")
    partial.unlink(missing_ok=True)
    hidden = not sys.stderr.isatty()
    with tqdm(total=grid.rows * grid.cols, desc="Sweeping", unit="patch", disable=hidden) as bar:
        for tile, probs in sweep.by_tiles(image, placement):
            part = (probs if encode is None else encode(probs)).numpy()
            if not partial.exists():
                shape = grid.rows, grid.cols, part.shape[2]
                np.lib.format.open_memmap(partial, "w+", part.dtype, shape)
            np.load(partial, mmap_mode="r+")[tile.rows, tile.cols] = part
            bar.update(part.shape[0] * part.shape[1])
    with partial.open("rb") as file:
        os.fsync(file.fileno())
    partial.replace(path)
    return grid
