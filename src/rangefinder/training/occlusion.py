"""Two charts in one crop: the nearer hides a part of the farther, as things in a scene do.

On a flat chart nothing is ever hidden, so a teacher of whole charts has not seen what happens where
a blurred thing ends, and answers at random there. Laying one photo of a chart over another at the
same place of the sensor, through a border blurred as the nearer one is, shows it; both labels stay
what they were. (Occlusion by a blurred alpha: Ikoma et al., Depth from Defocus with Learned Optics,
2021.) The border's blur is a disc as wide as what the lens does there: of another width it would
tell another distance than the chart's texture, and borders would show as they do in no photo.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from rangefinder.captures.manifest import CaptureSet
from rangefinder.captures.shapes import draw, outline
from rangefinder.location import Placement
from rangefinder.optics.border import Blur

RADIUS = (0.06, 0.32)  # of things that hide, of the frame's height

Mask = NDArray[np.float32]


@dataclass(frozen=True)
class Occlusion:
    """Lays charts of one camera before others.

    Attributes:
        frame_px: Height of the sensor, which things are sized by [px].
        blur: How wide the camera's lens blurs outlines.
    """

    frame_px: int
    blur: Blur

    @classmethod
    def of(cls, captures: CaptureSet) -> Occlusion:
        """For charts of a capture set."""
        return cls(captures.camera.height_px, captures.blur)

    def __call__(
        self,
        near: Tensor,
        far: Tensor,
        near_dpt: float,
        placement: Placement,
        generator: np.random.Generator,
    ) -> tuple[Tensor, Tensor]:
        """Lay a random piece of the nearer chart before the farther one.

        Args:
            near: `[3, h, w]` linear light of the nearer chart.
            far: The farther one alike.
            near_dpt: Inverse distance of the nearer one [dpt].
            placement: Where both are on the sensor.
            generator: Source of randomness.

        Returns:
            Linear light `[3, h, w]`, and the share `[h, w]` of each pixel that the nearer chart
            covers before blur, 0..1.
        """
        height, width = near.shape[-2:]
        crossing = generator.uniform((0, 0), (width, height))
        place = placement.crop(*crossing).origin_px
        disc = blur_disc(self.blur.diameter_px(near_dpt, *place) / placement.scale)
        margin = disc.shape[0] // 2
        radius = self.frame_px / placement.scale * math.exp(generator.uniform(*np.log(RADIUS)))
        cover = _piece(
            (height + 2 * margin, width + 2 * margin), crossing + margin, radius, generator
        )
        alpha = torch.from_numpy(_blurred(cover, disc))
        front = cover[margin : margin + height, margin : margin + width]
        return torch.lerp(far, near, alpha), torch.from_numpy(front)


def blur_disc(diameter_px: float) -> Mask:
    """A disc of sum 1 with a smooth border, `[k, k]`, k odd."""
    reach = math.ceil(diameter_px / 2)
    place = np.arange(-reach, reach + 1)
    distance = np.hypot(place[:, None], place[None])
    disc = np.clip(diameter_px / 2 + 0.5 - distance, 0, 1)
    return np.asarray(disc / disc.sum(), dtype=np.float32)


def _piece(
    size: tuple[int, int],
    crossing: NDArray[np.float64],
    radius_px: float,
    generator: np.random.Generator,
) -> Mask:
    """Cover `[h, w]` of a thing with a corner of its outline at `crossing` (x, y) [px]."""
    corners = outline(radius_px, generator)
    shape = draw(*size, corners + crossing - generator.choice(corners))
    cover = np.zeros(size, np.float32)
    if shape is not None:
        cover[shape.window] = shape.alpha.numpy()
    return cover


def _blurred(cover: Mask, disc: Mask) -> Mask:
    """Cover spread by the disc, without the margin."""
    from scipy.signal import oaconvolve

    spread: Mask = oaconvolve(cover, disc, mode="valid").clip(0, 1).astype(np.float32)
    return spread
