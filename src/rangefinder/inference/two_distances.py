"""Both distances at pixels of a photo whose posterior has two modes, of any runtime."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from rangefinder.models import modes
from rangefinder.models.card import Card
from rangefinder.models.prediction import REPORTED_LEVEL, TwoDistances
from rangefinder.photo_domain import Shift

AT_ONCE = 2**16  # cells whose distributions are looked at
Index = NDArray[np.integer]


@dataclass(frozen=True)
class CellPlaces:
    """Where the cells of a photo sit.

    Attributes:
        first_px: Centre of the first cell at the scale of the camera record.
        stride_px: From cell to cell, likewise.
        size_px: Height and width of the photo.
        at_scale_px: The same at the scale of the camera record.
    """

    first_px: float
    stride_px: float
    size_px: tuple[int, int]
    at_scale_px: tuple[int, int]

    def nearest(self, places: Index, axis: int, count: int) -> Index:
        """The nearest of `count` cells to rows (axis 0) or columns (axis 1) `[n]` of the photo."""
        at_scale = (places + 0.5) * (self.at_scale_px[axis] / self.size_px[axis])
        cells = np.floor((at_scale - self.first_px) / self.stride_px + 0.5)
        return np.asarray(cells.clip(0, count - 1), dtype=np.int64)


def two_distances(
    probs: NDArray[np.floating],
    card: Card,
    shifts: Collection[Shift],
    pixels: tuple[Index, Index],
    cells: CellPlaces,
) -> TwoDistances:
    """Both distances at pixels, of the nearest cell: `[h, w, 2]`; NaN where it has one mode.

    Args:
        probs: `[rows, cols, bins]` predicted probabilities, before posterior tilting.
        card: Of the model.
        shifts: Domain shifts of the photo.
        pixels: Rows `[h]` and columns `[w]` of the photo.
        cells: Where the cells sit.
    """
    centres_dpt = np.linspace(*card.prediction.inverse_range_dpt, card.prediction.bins)
    weight = centres_dpt ** (card.calibration.tilt_power if card.calibration else 0.0)
    mass = card.two_modes_mass(REPORTED_LEVEL, shifts)
    (rows, row), (columns, column) = (
        np.unique(cells.nearest(places, axis, probs.shape[axis]), return_inverse=True)
        for axis, places in enumerate(pixels)
    )
    found = []
    for some in np.array_split(rows, -(-len(rows) * len(columns) // AT_ONCE)):
        tilted = probs[np.ix_(some, columns)] * weight.astype(np.float32)
        flat = tilted.reshape(-1, tilted.shape[-1])
        found.append(modes.two_distances(flat, centres_dpt, mass).maps)
    parts = (np.concatenate(part) for part in zip(*found, strict=True))
    size = len(rows), len(columns), 2
    return TwoDistances(*(part.reshape(size)[np.ix_(row, column)] for part in parts))
