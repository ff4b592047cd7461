"""What a camera would have seen of a sharp photo with a distance map."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from rangefinder.captures.frames import fit_frame
from rangefinder.captures.manifest import Capture
from rangefinder.captures.photograph import photograph
from rangefinder.captures.textures import texture_energy
from rangefinder.config import Parameters
from rangefinder.errors import CaptureError
from rangefinder.workers import one_thread

if TYPE_CHECKING:
    from rangefinder.optics.lens import PsfBank

LEAST_KNOWN_SHARE = 0.01  # of the pixels, within the working range


def simulate_rgbd(
    bank: PsfBank,
    picture: Tensor,
    distance_m: Tensor,
    params: Parameters,
    generator: np.random.Generator,
) -> Capture:
    """Photograph an rgbd frame: fit it to the sensor, blur, vignette, expose.

    Args:
        bank: Point spread functions of the camera.
        picture: `[3, h, w]` linear light.
        distance_m: `[h, w]` [m], 0 unknown.
        params: Camera, working range and noise.
        generator: Source of exposure and noise.

    Returns:
        A labelled capture of the training split, its scene not named yet.

    Raises:
        CaptureError: If next to nothing of the frame lies within the working range.
    """
    from rangefinder.optics.render import render_rgbd

    size, working_m = bank.size_px, params.range.working_m
    sharp, known_m, shown_m = fit_frame(picture, distance_m.numpy(), size, working_m)
    share = float((known_m > 0).float().mean())
    if share < LEAST_KNOWN_SHARE:
        raise CaptureError(
            "the frame lies outside the working range",
            got=f"{share:.1%} of its pixels within {working_m[0]:g} to {working_m[1]:g} m",
            expected=f"at least {LEAST_KNOWN_SHARE:.0%}",
            todo="Widen range.working_m, or take the row out.",
        )
    with one_thread():
        blurred = render_rgbd(bank, sharp, shown_m)
    exposure = float(generator.uniform(*params.noise.exposure))
    scaled = blurred / blurred.max().clamp(min=1e-6)
    image = photograph(scaled, exposure, params.noise, generator)
    texture = texture_energy(sharp, params.captures.texture_window_px)
    return Capture(
        image=torch.as_tensor(image),
        role="labelled",
        scene="",
        split="train",
        distance_map=known_m,
        texture=texture,
        exposure=exposure,
    )
