"""A sharp photo with a distance map, brought to the size and range of a camera."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from rangefinder.captures.images import resize_sharp
from rangefinder.config import Interval


def fit_frame(
    picture: Tensor, distance_m: NDArray[np.float32], size: tuple[int, int], working_m: Interval
) -> tuple[Tensor, Tensor, Tensor]:
    """Cut, resample and fill a frame so that it can be rendered.

    The largest centred part of the camera's aspect is resampled; distances by nearest pixel.

    Args:
        picture: `[3, h, w]` linear light.
        distance_m: `[h, w]` [m], 0 unknown; at least one pixel is known.
        size: Rows and columns wanted.
        working_m: Distances that can be rendered; what lies outside counts as unknown.

    Returns:
        Sharp picture `[3, H, W]`, true distance `[H, W]` [m] (0 unknown), and the distance to
        render `[H, W]` [m] (gaps filled from the nearest known pixel, clipped to `working_m`).
    """
    from scipy import ndimage

    gaps = distance_m == 0
    nearest = ndimage.distance_transform_edt(gaps, return_distances=False, return_indices=True)
    rows, cols = _centred(distance_m.shape, *size)
    sharp = resize_sharp(picture[:, rows, cols].contiguous(), *size)
    known_m = _nearest(distance_m[rows, cols], *size)
    filled_m = _nearest(distance_m[tuple(nearest)][rows, cols], *size)
    known_m[(known_m < working_m[0]) | (known_m > working_m[1])] = 0.0
    shown_m = torch.from_numpy(filled_m).clamp_(*working_m)
    return sharp.clamp_(0, 1), torch.from_numpy(known_m), shown_m


def _centred(shape: tuple[int, ...], height_px: int, width_px: int) -> tuple[slice, slice]:
    """Largest centred window of the wanted aspect."""
    rows, cols = shape
    scale = min(rows / height_px, cols / width_px)
    height, width = round(height_px * scale), round(width_px * scale)
    top, left = (rows - height) // 2, (cols - width) // 2
    return slice(top, top + height), slice(left, left + width)


def _nearest(values: NDArray[np.float32], height_px: int, width_px: int) -> NDArray[np.float32]:
    """Resample `[h, w]` to `[height_px, width_px]` by nearest pixel."""
    rows = ((np.arange(height_px) + 0.5) * values.shape[0] / height_px).astype(int)
    cols = ((np.arange(width_px) + 0.5) * values.shape[1] / width_px).astype(int)
    picked: NDArray[np.float32] = values[rows[:, None], cols[None]]
    return picked
