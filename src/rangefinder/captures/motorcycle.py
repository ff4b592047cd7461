"""The real scene of the default evaluation: Middlebury's Motorcycle pair, from scikit-image."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from rangefinder.captures.images import resize_sharp, srgb_to_linear
from rangefinder.config import Interval
from rangefinder.errors import CaptureError

# skimage.data.stereo_motorcycle's docstring, of the reduced pictures it returns
FOCAL_LENGTH_PX = 994.978
PRINCIPAL_POINT_OFFSET_PX = 31.086
BASELINE_M = 0.193001
LEAST_KNOWN_SHARE = 0.01


def motorcycle_depth(disparity_px: NDArray[np.floating]) -> NDArray[np.float32]:
    """Depth along the optical axis [m] from disparity [px]; 0 where the disparity is unknown.

    Scharstein et al. (2014), High-resolution stereo datasets: z = baseline f / (d + doffs).
    """
    known = np.isfinite(disparity_px)
    offset = np.where(known, disparity_px, 1.0) + PRINCIPAL_POINT_OFFSET_PX
    return np.where(known, BASELINE_M * FOCAL_LENGTH_PX / offset, 0.0).astype(np.float32)


def motorcycle(height_px: int, width_px: int, working_m: Interval) -> tuple[Tensor, Tensor, Tensor]:
    """The left picture and its distances at the size of a camera.

    The largest centred part of the camera's aspect is resampled; distances by nearest pixel.

    Args:
        height_px: Rows wanted.
        width_px: Columns wanted.
        working_m: Distances that can be rendered; what lies outside counts as unknown.

    Returns:
        Sharp picture `[3, H, W]` (linear light), true distance `[H, W]` [m] (0 unknown), and the
        distance to render `[H, W]` [m] (gaps filled from the nearest known pixel, clipped).

    Raises:
        CaptureError: If next to nothing of the scene lies within the working range.
    """
    import skimage.data
    from scipy import ndimage

    fetch: Any = skimage.data.stereo_motorcycle
    left, _, disparity_px = fetch()
    depth_m = motorcycle_depth(disparity_px)
    gaps = depth_m == 0
    nearest = ndimage.distance_transform_edt(gaps, return_distances=False, return_indices=True)
    rows, cols = _centred(depth_m.shape, height_px, width_px)
    picture = srgb_to_linear(left[rows, cols] / 255).transpose(2, 0, 1)
    sharp = resize_sharp(torch.from_numpy(picture.copy()), height_px, width_px)
    known_m = _nearest(depth_m[rows, cols], height_px, width_px)
    filled_m = _nearest(depth_m[tuple(nearest)][rows, cols], height_px, width_px)
    known_m[(known_m < working_m[0]) | (known_m > working_m[1])] = 0.0
    if (known_m > 0).mean() < LEAST_KNOWN_SHARE:
        raise CaptureError(
            "the Motorcycle scene lies outside the working range",
            got=f"range.working_m = {working_m}",
            expected="some of 2.1 to 5.0 m",
            todo="Set captures.real_scenes: [].",
        )
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
