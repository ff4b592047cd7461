"""The real scene of the default evaluation: Middlebury's Motorcycle pair, from scikit-image."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from rangefinder.captures.frames import fit_frame
from rangefinder.captures.images import srgb_to_linear
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

    fetch: Any = skimage.data.stereo_motorcycle
    left, _, disparity_px = fetch()
    depth_m = motorcycle_depth(disparity_px)
    picture = torch.from_numpy(srgb_to_linear(left / 255).transpose(2, 0, 1).copy())
    sharp, known_m, shown_m = fit_frame(picture, depth_m, (height_px, width_px), working_m)
    if (known_m > 0).float().mean() < LEAST_KNOWN_SHARE:
        raise CaptureError(
            "the Motorcycle scene lies outside the working range",
            got=f"range.working_m = {working_m}",
            expected="some of 2.1 to 5.0 m",
            todo="Set captures.real_scenes: [].",
        )
    return sharp, known_m, shown_m
