"""Two charts in one crop: the nearer hides a part of the farther, as things in a scene do.

On a flat chart nothing is ever hidden, so a teacher of whole charts has not seen what happens where
a blurred thing ends, and answers at random there. Laying one photo of a chart over another at the
same place of the sensor, through a border blurred as the nearer one is, shows it; both labels stay
what they were. (Occlusion by a blurred alpha: Ikoma et al., Depth from Defocus with Learned Optics,
2021.) The border's blur is a thin lens's disc, known of every camera; what the lens does beside
that is in the photos.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from rangefinder.camera import Camera
from rangefinder.captures.shapes import draw, outline
from rangefinder.optics.geometry import blur_px

RADIUS = (0.06, 0.32)  # of things that hide, of the frame's height

Mask = NDArray[np.float32]


def occlude(
    camera: Camera,
    near: Tensor,
    far: Tensor,
    near_dpt: float,
    scale: float,
    generator: np.random.Generator,
) -> tuple[Tensor, Tensor]:
    """Lay a random piece of the nearer chart before the farther one.

    Args:
        camera: Took both.
        near: `[3, h, w]` linear light of the nearer chart.
        far: The farther one alike, at the same place of the sensor.
        near_dpt: Inverse distance of the nearer one [dpt].
        scale: Sensor pixels per image pixel.
        generator: Source of randomness.

    Returns:
        Linear light `[3, h, w]`, and the share `[h, w]` of each pixel that the nearer chart covers
        before blur, 0..1.
    """
    size = near.shape[1], near.shape[2]
    disc = blur_disc(float(blur_px(camera, 1 / near_dpt)) / scale)
    margin = disc.shape[0] // 2
    cover = _piece(size, margin, camera.height_px / scale, generator)
    alpha = torch.from_numpy(_blurred(cover, disc))
    front = cover[margin : margin + size[0], margin : margin + size[1]]
    return torch.lerp(far, near, alpha), torch.from_numpy(front)


def blur_disc(diameter_px: float) -> Mask:
    """A disc of sum 1 with a smooth border, `[k, k]`, k odd."""
    reach = math.ceil(diameter_px / 2)
    place = np.arange(-reach, reach + 1)
    distance = np.hypot(place[:, None], place[None])
    disc = np.clip(diameter_px / 2 + 0.5 - distance, 0, 1)
    return np.asarray(disc / disc.sum(), dtype=np.float32)


def _piece(
    size: tuple[int, int], margin: int, frame_px: float, generator: np.random.Generator
) -> Mask:
    """Cover `[h + 2 margin, w + 2 margin]` of a thing whose outline crosses the crop."""
    height, width = (side + 2 * margin for side in size)
    radius = frame_px * math.exp(generator.uniform(*np.log(RADIUS)))
    corners = outline(radius, generator)
    crossing = margin + generator.uniform((0, 0), size[::-1])
    shape = draw(height, width, corners + crossing - generator.choice(corners))
    cover = np.zeros((height, width), np.float32)
    if shape is not None:
        cover[shape.window] = shape.alpha.numpy()
    return cover


def _blurred(cover: Mask, disc: Mask) -> Mask:
    """Cover spread by the disc, without the margin."""
    from scipy.signal import oaconvolve

    spread: Mask = oaconvolve(cover, disc, mode="valid").clip(0, 1).astype(np.float32)
    return spread
