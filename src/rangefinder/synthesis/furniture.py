"""Things in a room: boxes, cylinders and spheres that stand, lie or hang where they are seen."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from rangefinder.synthesis.room_layout import Room
from rangefinder.synthesis.scenes import OBJECT_RADIUS, Frame, log_uniform
from rangefinder.synthesis.solids import Array, Box, Cylinder, Solid, Sphere, View

THIN_PX = (0.8, 4.0)  # radius of poles, legs and cables


@dataclass(frozen=True)
class Place:
    """Where a thing is to be seen."""

    view: View
    room: Room
    point: Array  # `[3]` [m]
    depth_m: float  # along the optical axis

    @property
    def pixel_m(self) -> float:
        """What a pixel covers there [m]."""
        return self.depth_m / self.view.focal_length_px

    @property
    def floor_y_m(self) -> float:
        """Of the floor."""
        return self.room.height_m

    def thin_m(self, generator: np.random.Generator) -> float:
        """Radius of a thin thing [m]."""
        return log_uniform(THIN_PX, generator) * self.pixel_m


Maker = Callable[[Place, float, np.random.Generator], list[Solid]]


def random_thing(place: Place, frame: Frame, generator: np.random.Generator) -> list[Solid]:
    """Solids of a random thing of about the size of the objects of other scenes."""
    radius_m = log_uniform(OBJECT_RADIUS, generator) * frame.height_px * place.pixel_m
    make = THINGS[generator.integers(len(THINGS))]
    return make(place, radius_m, generator)


def _above(place: Place, y: float) -> float:
    """A height `y`, but not below the floor."""
    return min(y, place.floor_y_m - 2 * place.pixel_m)


def _cabinet(place: Place, radius_m: float, generator: np.random.Generator) -> list[Solid]:
    """A box on the floor."""
    x, y, z = place.point.tolist()
    top = _above(place, y - radius_m * generator.uniform(0, 1))
    half = (place.floor_y_m - top) / 2
    wide, deep = radius_m * generator.uniform(0.4, 1.4, 2)
    return [Box((x, top + half, z), (wide, half, deep), generator.uniform(0, math.pi))]


def _column(place: Place, radius_m: float, generator: np.random.Generator) -> list[Solid]:
    """A round thing on the floor."""
    x, y, z = place.point.tolist()
    top = _above(place, y - radius_m * generator.uniform(0, 1))
    return [Cylinder((x, place.floor_y_m, z), (x, top, z), radius_m * generator.uniform(0.3, 0.9))]


def _pole(place: Place, radius_m: float, generator: np.random.Generator) -> list[Solid]:
    """A thin pole from the floor to the ceiling, or to a ball on it."""
    x, y, z = place.point.tolist()
    thin_m = place.thin_m(generator)
    if generator.random() < 0.5:
        return [Cylinder((x, place.floor_y_m, z), (x, -place.room.ceiling_m, z), thin_m)]
    ball = radius_m * generator.uniform(0.4, 0.8)
    y = _above(place, y)
    pole = Cylinder((x, place.floor_y_m, z), (x, y, z), min(thin_m, ball / 2))
    return [pole, Sphere((x, y, z), ball)]


def _pendant(place: Place, radius_m: float, generator: np.random.Generator) -> list[Solid]:
    """A ball or a can on a cable from the ceiling."""
    x, y, z = place.point.tolist()
    size = radius_m * generator.uniform(0.4, 0.8)
    cable = Cylinder((x, -place.room.ceiling_m, z), (x, y, z), place.thin_m(generator) / 2)
    if generator.random() < 0.5:
        return [cable, Sphere((x, y, z), size)]
    return [cable, Cylinder((x, y, z), (x, y + 2 * size, z), size)]


def _ball(place: Place, radius_m: float, generator: np.random.Generator) -> list[Solid]:
    """A ball on the floor, below the place."""
    radius_m *= generator.uniform(0.5, 1.0)
    x, y, z = place.point.tolist()
    drop = (place.floor_y_m - radius_m) / y if y > place.pixel_m else 1.0
    if not 1.0 <= drop < 1.5:  # along the ray: else it would be somewhere else
        return [Sphere((x, y, z), radius_m), *_pole_below(place, y, generator)]
    return [Sphere((x * drop, y * drop, z * drop), radius_m * drop)]


def _pole_below(place: Place, y: float, generator: np.random.Generator) -> list[Solid]:
    x, z = float(place.point[0]), float(place.point[2])
    return [Cylinder((x, place.floor_y_m, z), (x, _above(place, y), z), place.thin_m(generator))]


def _wire(place: Place, radius_m: float, generator: np.random.Generator) -> list[Solid]:
    """A slanted rod or cable."""
    way = generator.normal(0, 1, 3) * radius_m * (3, 2, 1)
    ends = [tuple((place.point + side * way).tolist()) for side in (-1, 1)]
    return [Cylinder(ends[0], ends[1], place.thin_m(generator) / 2)]


def _table(place: Place, radius_m: float, generator: np.random.Generator) -> list[Solid]:
    """A top on four legs, with things on it."""
    x, y, z = place.point.tolist()
    y = _above(place, y)
    yaw = generator.uniform(0, math.pi)
    wide, deep = radius_m * generator.uniform(0.7, 2.0, 2)
    thick = radius_m * generator.uniform(0.03, 0.15)
    leg_m = min(place.thin_m(generator), wide / 4, deep / 4)
    along, across = _turned(yaw, wide - leg_m, 0.0), _turned(yaw, 0.0, deep - leg_m)
    legs: list[Solid] = []
    for i, j in ((-1, -1), (-1, 1), (1, -1), (1, 1)):
        foot_x, foot_z = x + i * along[0] + j * across[0], z + i * along[1] + j * across[1]
        start, end = (foot_x, place.floor_y_m, foot_z), (foot_x, y + 2 * thick, foot_z)
        legs.append(Cylinder(start, end, leg_m))
    things: list[Solid] = []
    for slot in generator.permutation([-0.65, 0.0, 0.65])[: generator.integers(0, 4)]:
        size = min(wide, deep) * generator.uniform(0.12, 0.32)
        move = _turned(yaw, slot * wide, deep * generator.uniform(-0.5, 0.5))
        things.append(_on_top(x + move[0], y, z + move[1], size, generator))
    return [*legs, Box((x, y + thick, z), (wide, thick, deep), yaw), *things]


def _turned(yaw: float, x: float, z: float) -> tuple[float, float]:
    return x * math.cos(yaw) - z * math.sin(yaw), x * math.sin(yaw) + z * math.cos(yaw)


def _on_top(x: float, y: float, z: float, size: float, generator: np.random.Generator) -> Solid:
    """A thing of about `size` [m] that stands at (x, y, z)."""
    kind, tall = generator.integers(3), size * generator.uniform(0.5, 2.0)
    if kind == 0:
        half = (size, tall, size * generator.uniform(0.3, 1.0))
        return Box((x, y - tall, z), half, generator.uniform(0, math.pi))
    if kind == 1:
        return Cylinder((x, y, z), (x, y - 2 * tall, z), size)
    return Sphere((x, y - size, z), size)


def _picture(place: Place, radius_m: float, generator: np.random.Generator) -> list[Solid]:
    """A flat box on the wall behind the place, or a cabinet where there is no wall."""
    ray = place.point / place.depth_m
    inverse = place.room.inverse_m(ray)
    wall = int(np.argmax(inverse))
    if wall < 2:
        return _cabinet(place, radius_m, generator)
    normal, depth_m = place.room.normals[wall], 1 / float(inverse[wall])
    radius_m *= depth_m / place.depth_m
    wide, tall = radius_m * generator.uniform(0.5, 1.5, 2)
    deep = radius_m * generator.uniform(0.02, 0.5)
    centre = ray * depth_m - normal * deep
    yaw = math.atan2(-normal[0], normal[2])  # its z axis is the normal
    return [Box((centre[0], centre[1], centre[2]), (wide, tall, deep), yaw)]


THINGS: tuple[Maker, ...] = (
    _cabinet,
    _column,
    _pole,
    _pendant,
    _ball,
    _wire,
    _table,
    _table,
    _picture,
)
