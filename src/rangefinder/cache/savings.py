"""What a cache costs on disk, and the hours that it saves."""

from __future__ import annotations

import time
from dataclasses import dataclass

import torch
from torch import Tensor

from rangefinder.cache.sweep import Sweep
from rangefinder.location import Placement

WARM_UP = 16  # patches, before the clock runs


@dataclass(frozen=True)
class Savings:
    """Cost and gain of a cache.

    Attributes:
        photos: Photos in it.
        swept: Photos that this run swept.
        sweep_s: Seconds that this took.
        photo_bytes: Bytes of one photo, on average.
        cell_bytes: Bytes of one grid cell.
        loop_s: Seconds of the patch loop over one photo: measured on some of its patches, scaled
            to all of them.
        epochs: Epochs that read the cache.
    """

    photos: int
    swept: int
    sweep_s: float
    photo_bytes: float
    cell_bytes: int
    loop_s: float
    epochs: int

    @property
    def hours_saved(self) -> float:
        """Hours that a teacher asked patch by patch in every epoch takes, less this sweep."""
        return (self.loop_s * self.photos * self.epochs - self.sweep_s) / 3600

    def __str__(self) -> str:
        """Two lines for the terminal."""
        return (
            f"Teacher cache: {self.photos} photos ({self.swept} swept now, in {self.sweep_s:.1f} s)"
            f", {self.photo_bytes / 1000:.0f} kB per photo, {self.cell_bytes} bytes per grid cell\n"
            f"Hours saved against asking the teacher patch by patch ({self.loop_s:.2f} s per photo)"
            f" in each of {self.epochs} epochs: {self.hours_saved:.2f}"
        )


def loop_seconds(sweep: Sweep, image: Tensor, placement: Placement) -> float:
    """Seconds of the patch loop over a photo `[3, H, W]`, from one batch of its patches."""
    grid = sweep.grid(image)
    every = grid.rows * grid.cols
    sample = torch.linspace(0, every - 1, min(every, sweep.params.patch_batch)).long()
    sweep.patch_loop(image, placement, sample[:WARM_UP])
    began = time.perf_counter()
    sweep.patch_loop(image, placement, sample)
    return (time.perf_counter() - began) * every / len(sample)
