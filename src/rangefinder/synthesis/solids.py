"""A pinhole view, and convex solids in it: where rays enter them, and their outlines.

World coordinates [m] start at the projection centre: x to the right, y down along gravity, z ahead.
Rays are scaled to 1 along the optical axis, so that a ray's parameter is the distance along it.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol, Self

import numpy as np
from numpy.typing import NDArray

from rangefinder.synthesis.shapes import Points, Shape, draw

Array = NDArray[np.float64]
Vector = tuple[float, float, float]
RIM_POINTS = 48  # of an outline's circles
TINY = 1e-12  # of rays parallel to a face


@dataclass(frozen=True)
class View:
    """A pinhole camera without distortion."""

    focal_length_px: float
    centre_px: tuple[float, float]  # optical centre (x, y) in the picture
    size_px: tuple[int, int]  # rows, columns
    axes: Array  # `[3, 3]` in its columns: right, down and ahead of the camera in the world

    @classmethod
    def tilted(
        cls,
        focal_length_px: float,
        centre_px: tuple[float, float],
        size_px: tuple[int, int],
        pitch: float = 0.0,
        roll: float = 0.0,
    ) -> Self:
        """A camera that looks down by `pitch` and is turned clockwise by `roll` [rad]."""
        right = np.array([1.0, 0.0, 0.0])
        down = np.array([0.0, math.cos(pitch), -math.sin(pitch)])
        ahead = np.array([0.0, math.sin(pitch), math.cos(pitch)])
        cos, sin = math.cos(roll), math.sin(roll)
        axes = np.stack([cos * right + sin * down, cos * down - sin * right, ahead], axis=1)
        return cls(focal_length_px, centre_px, size_px, axes)

    def rays(self, x_px: Array, y_px: Array) -> Array:
        """Rays `[..., 3]` in the world through places in the picture; 1 along the optical axis."""
        x, y = np.broadcast_arrays(
            (x_px - self.centre_px[0]) / self.focal_length_px,
            (y_px - self.centre_px[1]) / self.focal_length_px,
        )
        return (
            np.asarray(x[..., None] * self.axes[:, 0] + y[..., None] * self.axes[:, 1])
            + (self.axes[:, 2])
        )

    def pixel_rays(self, window: tuple[slice, slice] | None = None) -> Array:
        """Rays `[h, w, 3]` through the middles of a window's pixels; None: of all."""
        rows, cols = window or (slice(0, self.size_px[0]), slice(0, self.size_px[1]))
        y, x = (np.arange(part.start, part.stop) + 0.5 for part in (rows, cols))
        return self.rays(x[None], y[:, None])

    def depth_m(self, points: Array) -> Array:
        """Distances along the optical axis of points `[..., 3]` [m]."""
        return np.asarray(points @ self.axes[:, 2])

    def project(self, points: Array) -> Points:
        """Places (x, y) `[..., 2]` [px] of points `[..., 3]` before the camera."""
        seen = points @ self.axes
        return np.asarray(seen[..., :2] / seen[..., 2:] * self.focal_length_px + self.centre_px)


@dataclass(frozen=True)
class Face:
    """A smooth part of a solid's surface, as rays meet it; arrays `[h, w]`.

    Attributes:
        entry_m: Where rays pass it inwards, whether or not the solid has surface there [m].
        along: Two coordinates along the surface [m].
    """

    entry_m: Array
    along: tuple[Array, Array]
    normal: Array  # `[h, w, 3]` outwards, in the world; or `[3]`


class Solid(Protocol):
    """A convex body: rays enter it where they have passed the last of its faces inwards."""

    def faces(self, rays: Array) -> tuple[list[Face], NDArray[np.bool_]]:
        """Its faces as rays `[h, w, 3]` meet them, and which rays `[h, w]` hit the solid."""

    def outline(self) -> Array:
        """Points `[n, 3]` whose convex hull is the solid's, as seen from the origin."""


def entry_m(faces: list[Face]) -> Array:
    """Distance along the optical axis [m] where rays enter a solid, or pass it closest."""
    return np.asarray(np.maximum.reduce([face.entry_m for face in faces]))


def drawn(view: View, solid: Solid) -> Shape | None:
    """Outline of a solid before the camera; None if it covers no pixel by half."""
    from scipy.spatial import ConvexHull, QhullError

    places = view.project(solid.outline())
    try:
        corners = places[ConvexHull(places).vertices]
    except QhullError:  # thinner than rounding
        return None
    return draw(*view.size_px, corners)


@dataclass(frozen=True)
class Box:
    """A box of any attitude."""

    centre: Vector
    half: Vector  # half of its sides [m]
    yaw: float = 0.0  # about the vertical, from x to z [rad]

    @property
    def _axes(self) -> Array:
        """`[3, 3]` in its rows: directions of its sides."""
        cos, sin = math.cos(self.yaw), math.sin(self.yaw)
        return np.array([[cos, 0.0, sin], [0.0, 1.0, 0.0], [-sin, 0.0, cos]])

    def faces(self, rays: Array) -> tuple[list[Face], NDArray[np.bool_]]:
        """See `Solid`; of each pair of opposite faces the one that rays pass inwards."""
        axes = self._axes
        origin = -axes @ np.array(self.centre)
        steps = [_away_from_zero(step) for step in _components(rays, axes)]
        sides = [np.sign(step) for step in steps]
        entries, exits = (
            [
                (way * side * half - start) / step
                for side, half, start, step in zip(sides, self.half, origin, steps, strict=True)
            ]
            for way in (-1, 1)
        )
        found = []
        for i, t in enumerate(entries):
            j, k = (i + 1) % 3, (i + 2) % 3
            along = (origin[j] + t * steps[j], origin[k] + t * steps[k])
            found.append(Face(t, along, -sides[i][..., None] * axes[i]))
        return found, np.maximum.reduce(entries) <= np.minimum.reduce(exits)

    def outline(self) -> Array:
        """See `Solid`: its corners."""
        signs = np.array([[x, y, z] for x in (-1, 1) for y in (-1, 1) for z in (-1, 1)])
        return np.asarray(np.array(self.centre) + (signs * self.half) @ self._axes)


@dataclass(frozen=True)
class Cylinder:
    """A round rod from one point to another."""

    start: Vector
    end: Vector
    radius_m: float

    @property
    def _frame(self) -> tuple[Array, float]:
        """`[3, 3]` rows: towards the camera, across, along the axis; and its length [m]."""
        along = np.array(self.end) - np.array(self.start)
        length = float(np.linalg.norm(along))
        along = along / length
        return facing(along, -(np.array(self.start) + np.array(self.end)) / 2), length

    def faces(self, rays: Array) -> tuple[list[Face], NDArray[np.bool_]]:
        """See `Solid`: the round side, and the end that rays pass inwards."""
        axes, length = self._frame
        origin = -axes @ np.array(self.start)
        right, ahead, up = _components(rays, axes)
        a = np.maximum(right**2 + ahead**2, TINY)
        b = right * origin[0] + ahead * origin[1]
        under = b**2 - a * (origin[0] ** 2 + origin[1] ** 2 - self.radius_m**2)
        root = np.sqrt(np.maximum(under, 0.0))
        t = (-b - root) / a
        around = np.arctan2(origin[1] + t * ahead, origin[0] + t * right)
        normal = (np.cos(around)[..., None] * axes[0]) + np.sin(around)[..., None] * axes[1]
        side = Face(t, (around * self.radius_m, origin[2] + t * up), normal)
        up = _away_from_zero(up)
        inwards = np.sign(up)
        first = (np.where(inwards > 0, 0.0, length) - origin[2]) / up
        last = (np.where(inwards > 0, length, 0.0) - origin[2]) / up
        along = (origin[0] + first * right, origin[1] + first * ahead)
        cap = Face(first, along, -inwards[..., None] * axes[2])
        hit = (under >= 0) & (np.maximum(t, first) <= np.minimum((-b + root) / a, last))
        return [side, cap], hit

    def outline(self) -> Array:
        """See `Solid`: points of both rims."""
        axes, _ = self._frame
        angle = 2 * np.pi * np.arange(RIM_POINTS)[:, None] / RIM_POINTS
        rim = self.radius_m * (np.cos(angle) * axes[0] + np.sin(angle) * axes[1])
        return np.concatenate([rim + np.array(self.start), rim + np.array(self.end)])


@dataclass(frozen=True)
class Sphere:
    """A ball; the camera is outside."""

    centre: Vector
    radius_m: float

    def faces(self, rays: Array) -> tuple[list[Face], NDArray[np.bool_]]:
        """See `Solid`. Coordinates are those of the azimuthal equidistant projection."""
        centre = np.array(self.centre)
        a, b = np.einsum("...i,...i->...", rays, rays), rays @ centre
        under = b**2 - a * (centre @ centre - self.radius_m**2)
        t = (b - np.sqrt(np.maximum(under, 0.0))) / a
        outwards = t[..., None] * rays - centre
        normal = outwards / np.sqrt(np.einsum("...i,...i->...", outwards, outwards))[..., None]
        axes = facing(-centre / np.linalg.norm(centre), np.array([0.0, 1.0, 0.0]))
        x, y, z = _components(normal, axes)
        reach = np.hypot(x, y)
        stretch = self.radius_m * np.arctan2(reach, z) / np.maximum(reach, TINY)
        return [Face(t, (x * stretch, y * stretch), normal)], under >= 0

    def outline(self) -> Array:
        """See `Solid`: the circle where rays graze it, and its nearest point."""
        centre = np.array(self.centre)
        far = float(np.linalg.norm(centre))
        axes = facing(centre / far, np.array([0.0, 1.0, 0.0]))
        angle = 2 * np.pi * np.arange(RIM_POINTS)[:, None] / RIM_POINTS
        sine = self.radius_m / far
        circle = math.sqrt(1 - sine**2) * (np.cos(angle) * axes[0] + np.sin(angle) * axes[1])
        rim = self.radius_m * (circle - sine * axes[2])
        return np.concatenate([centre + rim, [centre * (1 - sine)]])


def _components(vectors: Array, axes: Array) -> Iterator[Array]:
    """Of vectors `[..., 3]` along each row of `axes`, `[...]`."""
    return (vectors @ axis for axis in axes)


def _away_from_zero(values: Array) -> Array:
    return np.where(np.abs(values) < TINY, TINY, values)


def facing(axis: Array, towards: Array) -> Array:
    """`[3, 3]` rows: two directions across an axis, the first nearest to `towards`; the axis."""
    across = towards - (towards @ axis) * axis
    if np.linalg.norm(across) < TINY:
        across = np.roll(axis, 1) - (np.roll(axis, 1) @ axis) * axis
    across = across / np.linalg.norm(across)
    return np.stack([across, np.cross(axis, across), axis])
