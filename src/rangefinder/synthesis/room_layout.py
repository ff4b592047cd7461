"""The shell of a room, floor, ceiling and two walls, and the tilted camera that sees it."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from rangefinder.camera import Camera
from rangefinder.optics.blur import image_distance_m
from rangefinder.synthesis.scenes import Frame, log_uniform
from rangefinder.synthesis.solids import Array, Vector, View

PITCH = (-0.15, 0.9)  # of the camera, downwards [rad]
ROLL_SD = 0.04  # [rad]
CAMERA_HEIGHT_M = (0.8, 1.8)  # above the floor, before scaling
HEADROOM_M = (0.3, 2.0)  # from the camera to the ceiling
CORNER = ((-0.5, 1.5), (-0.4, 0.8))  # where a corner meets the floor / width and height
CORNER_M = (1.5, 6.0)  # nearest and farthest corner
WALL_ANGLE = (0.2, 1.35)  # between the corner and the way to one of its walls [rad]
AMBIENT = (0.25, 0.6)  # share of light from everywhere
LAMP_M = (1.5, 5.0)  # distance over which a lamp's light falls to half


@dataclass(frozen=True)
class Room:
    """Planes around the camera, and a lamp.

    Attributes:
        normals: `[n, 3]` outwards, and `distances_m` `[n]` from the camera: floor, ceiling, walls.
    """

    normals: Array
    distances_m: Array
    height_m: float  # of the camera above the floor
    lamp: Vector
    ambient: float  # share of light that is not the lamp's
    reach_m: float  # where the lamp's light is halved

    @property
    def ceiling_m(self) -> float:
        """From the camera up to the ceiling [m]."""
        return float(self.distances_m[1])

    def inverse_m(self, rays: Array) -> list[Array]:
        """Inverse distance along the optical axis `[...]` [1/m] of each plane."""
        return [rays @ normal for normal in self.normals / self.distances_m[:, None]]

    def light(self, points: Array, normals: Array) -> Array:
        """Lambert shading of surfaces under the lamp, `[...]`, about 1.

        Args:
            points: `[..., 3]` [m].
            normals: `[..., 3]` towards the camera's side.
        """
        way = np.array(self.lamp) - points
        square = np.einsum("...i,...i->...", way, way)
        across = np.einsum("...i,...i->...", way, np.broadcast_to(normals, way.shape))
        cosine = np.maximum(across, 0.0) / np.sqrt(np.maximum(square, 1e-12))
        direct = 2.0 * cosine / (1.0 + square / self.reach_m**2)
        return np.asarray(self.ambient + (1 - self.ambient) * direct)


def random_view(frame: Frame, camera: Camera, generator: np.random.Generator) -> View:
    """The camera's field of view on a padded frame, tilted at random."""
    focal_px = image_distance_m(camera) / (camera.pixel_pitch_um * 1e-6)
    x, y = camera.centre_px
    centre_px = x + frame.margin_px, y + frame.margin_px
    pitch, roll = generator.uniform(*PITCH), generator.normal(0, ROLL_SD)
    return View.tilted(focal_px, centre_px, frame.padded_size, pitch, roll)


def random_room(view: View, frame: Frame, generator: np.random.Generator) -> Room:
    """A floor, a ceiling, and two walls that meet in a corner, often in view."""
    height_m, headroom_m = generator.uniform(*CAMERA_HEIGHT_M), generator.uniform(*HEADROOM_M)
    x, y = (
        frame.margin_px + generator.uniform(*bounds) * side
        for bounds, side in zip(CORNER, (frame.width_px, frame.height_px), strict=True)
    )
    ray = view.rays(np.array(x), np.array(y))
    level = math.hypot(ray[0], ray[2])
    falls = ray[1] * CORNER_M[1] > height_m * level  # it meets the floor soon enough
    corner_m = height_m / ray[1] * level if falls else log_uniform(CORNER_M, generator)
    corner_m = max(corner_m, CORNER_M[0] / 2)
    azimuth, turn = math.atan2(ray[0], ray[2]), generator.uniform(*WALL_ANGLE)
    side = int(generator.choice([-1, 1]))
    walls = [(turn, corner_m * math.cos(turn)), (turn - math.pi / 2, corner_m * math.sin(turn))]
    normals = [[0.0, 1.0, 0.0], [0.0, -1.0, 0.0]]
    normals += [
        [math.sin(azimuth + side * angle), 0.0, math.cos(azimuth + side * angle)]
        for angle, _ in walls
    ]
    distances = [height_m, headroom_m, *(distance for _, distance in walls)]
    lamp = generator.uniform((-2.0, -0.9 * headroom_m, -1.0), (2.0, 0.2 * height_m, 0.8 * corner_m))
    ambient, reach_m = generator.uniform(*AMBIENT), generator.uniform(*LAMP_M)
    return Room(
        np.array(normals), np.array(distances), height_m, tuple(lamp.tolist()), ambient, reach_m
    )
