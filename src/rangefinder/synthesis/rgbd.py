"""Captures rendered from RGB-D frames: a sharp photo and its distance map through the lens."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from rangefinder.captures.images import linear_light, resize_sharp
from rangefinder.captures.manifest import Capture
from rangefinder.common.compute import one_thread
from rangefinder.config import Interval, Parameters
from rangefinder.errors import CaptureError
from rangefinder.optics.psf_bank import PsfBank
from rangefinder.optics.rendering import refocused, render_rgbd
from rangefinder.optics.sensor import drawn_development, focus_shift_dpt, photograph, sensor_light
from rangefinder.synthesis.textures import texture_energy

# Of the pair of skimage.data.stereo_motorcycle, from its docstring
FOCAL_LENGTH_PX = 994.978
PRINCIPAL_POINT_OFFSET_PX = 31.086
BASELINE_M = 0.193001
MIN_KNOWN_SHARE = 0.01  # of a frame's pixels, within the working range


def fit_frame(
    picture: Tensor,
    distance_m: NDArray[np.float32],
    size: tuple[int, int],
    working_m: Interval,
    todo: str = "Widen range.working_m, or take the row out.",
) -> tuple[Tensor, Tensor, Tensor]:
    """Crop, resample and fill an RGB-D frame for rendering.

    The largest centred part of the camera's aspect is resampled; distances by nearest pixel.

    Args:
        picture: `[3, h, w]` linear light.
        distance_m: `[h, w]` [m], 0 unknown; at least one pixel is known.
        size: Rows and columns of the result.
        working_m: Range that can be rendered; beyond it distances count as unknown.
        todo: For the error.

    Returns:
        Sharp picture `[3, H, W]`, true distance `[H, W]` [m] (0 unknown), and the distance to
        render `[H, W]` [m] (gaps filled from the nearest known pixel, clipped to `working_m`).

    Raises:
        CaptureError: If next to nothing of the frame lies within the working range.
    """
    from scipy import ndimage

    gaps = distance_m == 0
    nearest = ndimage.distance_transform_edt(gaps, return_distances=False, return_indices=True)
    rows, cols = _centred(distance_m.shape, *size)
    sharp = resize_sharp(picture[:, rows, cols].contiguous(), *size)
    known_m = _nearest(distance_m[rows, cols], *size)
    filled_m = _nearest(distance_m[tuple(nearest)][rows, cols], *size)
    known_m[(known_m < working_m[0]) | (known_m > working_m[1])] = 0.0
    share = float((known_m > 0).mean())
    if share < MIN_KNOWN_SHARE:
        raise CaptureError(
            "the frame lies outside the working range",
            got=f"{share:.1%} of its pixels within {working_m[0]:g} to {working_m[1]:g} m",
            expected=f"at least {MIN_KNOWN_SHARE:.0%}",
            todo=todo,
        )
    shown_m = torch.from_numpy(filled_m).clamp_(*working_m)
    return sharp.clamp_(0, 1), torch.from_numpy(known_m), shown_m


def _centred(shape: tuple[int, ...], height_px: int, width_px: int) -> tuple[slice, slice]:
    """Largest centred window of an aspect ratio."""
    rows, cols = shape
    scale = min(rows / height_px, cols / width_px)
    height, width = round(height_px * scale), round(width_px * scale)
    top, left = (rows - height) // 2, (cols - width) // 2
    return slice(top, top + height), slice(left, left + width)


def _nearest(values: NDArray[np.float32], height_px: int, width_px: int) -> NDArray[np.float32]:
    """Resample `[h, w]` to `[height_px, width_px]` by nearest pixel."""
    rows = ((np.arange(height_px) + 0.5) * values.shape[0] / height_px).astype(int)
    cols = ((np.arange(width_px) + 0.5) * values.shape[1] / width_px).astype(int)
    return np.asarray(values[rows[:, None], cols[None]])


def motorcycle_depth(disparity_px: NDArray[np.floating]) -> NDArray[np.float32]:
    """Depth along the optical axis [m] from disparity [px]; 0 where the disparity is unknown.

    z = baseline f / (d + doffs): Scharstein et al., High-resolution stereo datasets with
    subpixel-accurate ground truth, 2014.
    """
    known = np.isfinite(disparity_px)
    offset = np.where(known, disparity_px, 1.0) + PRINCIPAL_POINT_OFFSET_PX
    return np.where(known, BASELINE_M * FOCAL_LENGTH_PX / offset, 0.0).astype(np.float32)


def motorcycle(height_px: int, width_px: int, working_m: Interval) -> tuple[Tensor, Tensor, Tensor]:
    """`fit_frame` of the left picture of the Motorcycle scene and its distances."""
    import skimage.data

    fetch: Any = skimage.data.stereo_motorcycle
    left, _, disparity_px = fetch()
    depth_m = motorcycle_depth(disparity_px)
    picture = linear_light("the Motorcycle scene", left)
    todo = "Set captures.real_scenes: []: the Motorcycle scene extends from 2.1 to 5.0 m."
    return fit_frame(picture, depth_m, (height_px, width_px), working_m, todo)


def simulate_rgbd(
    bank: PsfBank,
    params: Parameters,
    picture: Tensor,
    distance_m: Tensor,
    generator: np.random.Generator,
) -> Capture:
    """Render an RGB-D frame: fit it to the sensor, blur it with vignetting, expose it.

    Args:
        bank: PSF bank of the camera.
        params: Encoding of the camera, working range, noise and texture window.
        picture: `[3, h, w]` linear light.
        distance_m: `[h, w]` [m], 0 unknown.
        generator: Source of exposure and noise.

    Returns:
        A labelled capture of the training split, without a scene; raises as `fit_frame`.
    """
    size, working_m = bank.size_px, params.range.working_m
    sharp, known_m, shown_m = fit_frame(picture, distance_m.numpy(), size, working_m)
    encoding = drawn_development(params.camera.encoding, generator)
    with one_thread():
        moved_m = refocused(bank, shown_m, focus_shift_dpt(params.noise, generator))
        blurred = render_rgbd(bank, sensor_light(sharp, encoding), moved_m)
    image, exposure, storage = photograph(blurred, params.noise, encoding, generator)
    return Capture(
        image=image,
        role="labelled",
        scene="",
        split="train",
        distance_map=known_m,
        texture=texture_energy(sharp, params.captures.texture_window_px),
        exposure=exposure,
        storage=storage,
    )
