"""Occlusion compositing of charts: crops and scenes with known occlusion boundaries.

A flat chart shows no occlusion, so a teacher of plain charts has never seen a defocused boundary,
and nobody labels boundaries in photos. Compositing one photo of a chart over another at the same
place of the sensor, through an alpha blurred as the nearer chart is, gives both with exact labels
(blurred alpha: Ikoma et al., Depth from Defocus with Learned Optics for Imaging and Occlusion-aware
Depth Estimation, 2021). The alpha's blur is a disc of the lens's blur diameter there: any other
width would contradict the chart's texture.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset

from rangefinder.captures import images
from rangefinder.captures.manifest import CaptureSet
from rangefinder.captures.pixels import Pixels
from rangefinder.config import Interval, StudentParams, TeacherParams
from rangefinder.coordinates import PatchGrid, Placement, location_map
from rangefinder.models.student import Student
from rangefinder.optics.blur import Blur
from rangefinder.synthesis.shapes import draw, outline
from rangefinder.training.augmentation import mirror, photometric_jitter

KEEP_BYTES = 2**29  # memory for composited scenes

Mask = NDArray[np.float32]


@dataclass(frozen=True)
class OcclusionCompositor:
    """Composites charts of one camera."""

    sensor_height_px: int  # height of the sensor [px]
    blur: Blur  # blur diameter of the camera's lens
    radius: Interval  # smallest and largest radius of an occluder / height of the sensor

    @classmethod
    def of(cls, captures: CaptureSet, radius: Interval) -> OcclusionCompositor:
        """For charts of a capture set."""
        return cls(captures.camera.height_px, captures.blur, radius)

    def __call__(
        self,
        near: Tensor,
        far: Tensor,
        near_dpt: float,
        placement: Placement,
        generator: np.random.Generator,
    ) -> tuple[Tensor, Tensor]:
        """Composite a random occluder of the nearer chart over the farther one.

        Args:
            near: `[3, h, w]` linear light of the nearer chart.
            far: The farther one alike.
            near_dpt: Inverse distance of the nearer one [dpt].
            placement: Where both are on the sensor.
            generator: Source of randomness.

        Returns:
            Linear light `[3, h, w]`, and the sharp alpha `[h, w]` of the nearer chart, 0..1.
        """
        height, width = near.shape[-2:]
        corner = generator.uniform((0, 0), (width, height))
        place = placement.crop(*corner).origin_px
        disc = blur_disc(self.blur.diameter_px(near_dpt, *place) / placement.scale)
        margin = disc.shape[0] // 2
        scale = math.exp(generator.uniform(*np.log(self.radius)))
        radius_px = self.sensor_height_px / placement.scale * scale
        size = (height + 2 * margin, width + 2 * margin)
        alpha = _occluder(size, corner + margin, radius_px, generator)
        blurred = torch.from_numpy(_blurred(alpha, disc))
        sharp = alpha[margin : margin + height, margin : margin + width]
        return torch.lerp(far, near, blurred), torch.from_numpy(sharp)


def blur_disc(diameter_px: float) -> Mask:
    """An antialiased disc of sum 1, `[k, k]`, k odd."""
    reach = math.ceil(diameter_px / 2)
    offset = np.arange(-reach, reach + 1)
    distance = np.hypot(offset[:, None], offset[None])
    disc = np.clip(diameter_px / 2 + 0.5 - distance, 0, 1)
    return np.asarray(disc / disc.sum(), dtype=np.float32)


def _occluder(
    size: tuple[int, int],
    corner_px: NDArray[np.float64],
    radius_px: float,
    generator: np.random.Generator,
) -> Mask:
    """Alpha `[h, w]` of a random shape with a corner of its outline at `corner_px` (x, y)."""
    corners = outline(radius_px, generator)
    shape = draw(*size, corners + corner_px - generator.choice(corners))
    alpha = np.zeros(size, np.float32)
    if shape is not None:
        alpha[shape.window] = shape.alpha.numpy()
    return alpha


def _blurred(alpha: Mask, disc: Mask) -> Mask:
    """Alpha convolved with the disc, without the margin."""
    from scipy.signal import oaconvolve

    blurred: Mask = oaconvolve(alpha, disc, mode="valid").clip(0, 1).astype(np.float32)
    return blurred


class CompositedScenes(Dataset[dict[str, Tensor]]):
    """Scenes composited of charts, with the inverse distance of every cell of the student.

    They train occlusion boundaries and the ranking of distances across them, not distances: how
    likely each distance is in scenes, charts do not show.

    Each is made when it is first used, and kept. Pixels beyond the last of the student's cells are
    cut off, so that cells sit at the same pixels in mirrored scenes.

    Args:
        charts: Those with one distance each, of the most common size and place on the sensor, are
            used.
        options: Number of scenes (fewer if they do not fit into `KEEP_BYTES`), occluders, and side
            of training crops.
        teacher: Occluder radius and photometric jitter.
        seed: Of all randomness.
    """

    def __init__(
        self, charts: CaptureSet, options: StudentParams, teacher: TeacherParams, seed: int
    ) -> None:
        self.camera, self.teacher, self.seed = charts.camera, teacher, seed
        self.occluders = options.occluders
        self.stride_px = int(Student.lattice.stride_px)
        self.pixels = Pixels(charts)
        self.composite = OcclusionCompositor.of(charts, teacher.occluder_radius)
        self.distance_m = charts.table["distance_m"].to_numpy(float)
        flat = charts.table["distance_map"].isna().to_numpy() & (self.distance_m > 0)
        self.charts = max(self.pixels.same_placement(flat.tolist()), key=len, default=[])
        self.scenes, self._kept = 0, dict[int, tuple[Tensor, Tensor, Placement]]()
        if len(self.charts) < 2:
            return
        whole_px = self.pixels.sizes[self.charts[0]]
        part_px = [min(side, options.crop_px or side) for side in whole_px]
        self.size = PatchGrid(part_px[0], part_px[1], 1, self.stride_px).covered_px
        self.room_px = [whole - part for whole, part in zip(whole_px, part_px, strict=True)]
        self.scenes = min(options.composited_scenes, KEEP_BYTES // (6 * math.prod(self.size)))

    def __len__(self) -> int:
        """Number of scenes; 0 without two charts of one size and place."""
        return self.scenes

    def __getitem__(self, number: int) -> dict[str, Tensor]:
        """Scene `number` modulo their count: image `[3, H, W]`, location `[2, H, W]`, inverse_dpt.

        The last is `[rows, cols]` inverse distance at the student's cells [dpt].
        """
        scene = number % len(self)
        if scene not in self._kept:
            self._kept[scene] = self._scene(np.random.default_rng([self.seed, scene]))
        image, inverse_dpt, placement = self._kept[scene]
        item = {
            "image": image.movedim(-1, 0).float() / images.FULL_SCALE,
            "location": torch.from_numpy(location_map(self.camera, placement, *self.size)),
            "inverse_dpt": inverse_dpt,
        }
        rng = np.random.default_rng([self.seed, len(self), number])
        return mirror(item, rng) if self.camera.symmetric else item

    def _scene(self, rng: np.random.Generator) -> tuple[Tensor, Tensor, Placement]:
        """16-bit linear light `[H, W, 3]`, inverse distance of the cells [dpt], and placement."""
        fewest, most = self.occluders
        occluders = min(int(rng.integers(fewest, most + 1)), len(self.charts) - 1)
        chosen = rng.choice(self.charts, occluders + 1, replace=False)
        far, *nearer = chosen[np.argsort(-self.distance_m[chosen])].tolist()
        top, left = (int(rng.integers(room + 1)) for room in self.room_px)
        image = self._chart(far, top, left, rng)
        inverse_dpt = torch.full(self.size, 1 / self.distance_m[far], dtype=torch.float32)
        placement = self.pixels.placements[far].crop(left, top)
        for chart in nearer:
            near_dpt, near = 1 / self.distance_m[chart], self._chart(chart, top, left, rng)
            image, alpha = self.composite(near, image, near_dpt, placement, rng)
            inverse_dpt[alpha >= 0.5] = near_dpt
        cells = inverse_dpt[:: self.stride_px, :: self.stride_px].clone()
        return torch.from_numpy(images.quantise(image)), cells, placement

    def _chart(self, index: int, top: int, left: int, rng: np.random.Generator) -> Tensor:
        return photometric_jitter(self.pixels.crop(index, top, left, *self.size), self.teacher, rng)
