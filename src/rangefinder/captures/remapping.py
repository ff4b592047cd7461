"""Distances of rgbd frames, remapped at random: distance follows from blur, not from content."""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor

from rangefinder.camera import Camera
from rangefinder.config import Interval
from rangefinder.optics.blur import from_lens_m, reference_m

FACTOR = (0.6, 1.6)  # of defocus
MIRRORED_SHARE = 0.5  # of frames
MIDDLE = (0.05, 0.95)  # quantiles of a frame's distances that stay in the working range
LEAST_DPT = 1e-3  # stands for infinity, and for more than that


def remapped(
    distance_m: Tensor, camera: Camera, working_m: Interval, generator: np.random.Generator
) -> Tensor:
    """A frame's distances scaled, mirrored across the focus and shifted at random, in dioptres.

    Defocus is multiplied by a factor, whose sign is reversed in half of the frames, and moved into
    the working range: what was mirrored as little as possible, all else anywhere. All three keep
    planes plane.

    Args:
        distance_m: `[H, W]` [m], 0 unknown; at least one pixel is known.
        camera: Its focus, and where its distances start.
        working_m: Range where the middle 90 % of the frame comes to lie.
        generator: Source of randomness.

    Returns:
        `[H, W]` [m], 0 unknown.
    """
    known = distance_m > reference_m(camera)
    near_dpt, far_dpt, focus_dpt = (
        1 / float(from_lens_m(camera, one)) for one in (*working_m, camera.focus_distance_m)
    )
    inverse = 1 / (distance_m.double() - reference_m(camera))
    ends = np.quantile(inverse[known].numpy(), MIDDLE) - focus_dpt
    widest = (near_dpt - far_dpt) / max(float(np.ptp(ends)), 1e-9)
    factor = min(math.exp(generator.uniform(*np.log(FACTOR))), widest)
    is_mirrored = generator.random() < MIRRORED_SHARE
    factor = -factor if is_mirrored else factor
    low, high = sorted((factor * ends).tolist())
    least, most = far_dpt - focus_dpt - low, near_dpt - focus_dpt - high
    most = max(least, most)
    shift = min(max(0.0, least), most) if is_mirrored else generator.uniform(least, most)
    return defocused(distance_m, camera, factor, shift)


def defocused(distance_m: Tensor, camera: Camera, factor: float, shift_dpt: float) -> Tensor:
    """Distances whose defocus is `factor` times as large, plus a shift [1/m]; 0 unknown.

    Blur of a thin lens is proportional to it: with -1 and no shift the blur circles stay, and the
    sign of defocus changes. What would be at infinity or behind the camera is as far as can be.
    """
    before_m = reference_m(camera)
    known = distance_m > before_m
    focus_dpt = 1 / float(from_lens_m(camera, camera.focus_distance_m))
    inverse = 1 / (distance_m.double() - before_m).where(known, 1.0)
    moved = focus_dpt + factor * (inverse - focus_dpt) + shift_dpt
    return torch.where(known, 1 / moved.clamp(min=LEAST_DPT) + before_m, 0.0).float()
