"""Scenes like rooms, in perspective: floor, walls, ceiling, and things that stand, lie or hang.

A room is laid out in the view of a tilted camera, then scaled as a whole, so that a random pixel of
it is at a random distance of the prior: near or far is in the blur, hardly in the content. Sizes of
things are drawn in pixels, wherever they are. What is nearer than the range of distances is not
placed; what would be farther is cut off by a wall that faces the camera.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import torch

from rangefinder.camera import Camera
from rangefinder.config import CaptureParams, Interval
from rangefinder.optics.blur import image_distance_m, reference_m
from rangefinder.optics.rendering import Layer
from rangefinder.synthesis.mapping import as_picture, largest, soft_maximum, textured
from rangefinder.synthesis.scenes import (
    OBJECT_RADIUS,
    Composition,
    Frame,
    blend,
    inverse_distance_dpt,
    layer_of,
    log_uniform,
    unique,
)
from rangefinder.synthesis.shapes import Shape
from rangefinder.synthesis.solids import (
    Array,
    Box,
    Cylinder,
    Solid,
    Sphere,
    Vector,
    View,
    drawn,
    entry_m,
    facing,
)
from rangefinder.synthesis.textures import DARKEST, TextureSampler

PITCH = (-0.15, 0.9)  # of the camera, downwards [rad]
ROLL_SD = 0.04  # [rad]
CAMERA_HEIGHT_M = (0.8, 1.8)  # above the floor, before scaling
HEADROOM_M = (0.3, 2.0)  # from the camera to the ceiling
CORNER = ((-0.5, 1.5), (-0.4, 0.8))  # where a corner meets the floor / width and height
CORNER_M = (1.5, 6.0)  # nearest and farthest corner
WALL_ANGLE = (0.2, 1.35)  # between the corner and the way to one of its walls [rad]
BACKGROUND_SHARE = 0.4  # of the logarithm of the range that a room without things may span
THINGS_SHARE = (0.0, 1.0)  # of that logarithm, to the nearest place for things
SLACK = 0.97  # of the range, so that rounding does not leave it
THIN_PX = (0.8, 4.0)  # radius of poles, legs and cables
TRIES = 6  # places for a thing
AMBIENT = (0.25, 0.6)  # share of light from everywhere
LAMP_M = (1.5, 5.0)  # distance over which a lamp's light falls to half
EPSILON = 1e-3  # relative difference of distances that is more than contact


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


@dataclass(frozen=True)
class Piece:
    """A solid as it is seen, before the room is scaled."""

    solid: Solid
    shape: Shape
    inverse_m: Array  # `[h, w]` of the shape's box [1/m]

    @classmethod
    def seen(cls, view: View, solid: Solid, floor: Array) -> Piece | None:
        """A solid in front of the inverse distances `floor` of a room; None if none of it is."""
        if view.depth_m(solid.outline()).min() <= 0:
            return None
        shape = drawn(view, solid)
        if shape is None:
            return None
        behind = floor[shape.window]
        inverse = _inverse_m(view, solid, shape)
        embedded = inverse < behind * (1 - EPSILON)
        alpha = torch.where(torch.from_numpy(embedded), 0.0, shape.alpha)
        if float(alpha.max()) < 0.5:
            return None
        return cls(solid, replace(shape, alpha=alpha), np.maximum(inverse, behind))

    @property
    def nearest_inverse_m(self) -> float:
        """Of all that is seen of it."""
        return float(self.inverse_m[self.shape.alpha.numpy() > 0].max())

    def ahead_of(self, other: Piece) -> Array:
        """Relative difference of inverse distance `[n]` where both are seen; positive: nearer."""
        parts = []
        for axis in (0, 1):
            a, b = self.shape.window[axis], other.shape.window[axis]
            start, stop = max(a.start, b.start), min(a.stop, b.stop)
            if start >= stop:
                return np.zeros(0)
            parts.append(
                (slice(start - a.start, stop - a.start), slice(start - b.start, stop - b.start))
            )
        here, there = ((parts[0][i], parts[1][i]) for i in (0, 1))
        both = (self.shape.alpha[here] >= 0.5) & (other.shape.alpha[there] >= 0.5)
        mine, its = self.inverse_m[here][both.numpy()], other.inverse_m[there][both.numpy()]
        return np.asarray(mine / its - 1)


def compose_room(
    frame: Frame,
    sampler: TextureSampler,
    camera: Camera,
    working_m: Interval,
    params: CaptureParams,
    generator: np.random.Generator,
) -> Composition:
    """A room with things of the sampler's textures, far ones first."""
    before_m = reference_m(camera)  # from the zero of distances to the lens
    near_m, far_m = (distance_m - before_m for distance_m in working_m)
    view = random_view(frame, camera, generator)
    room = random_room(view, frame, generator)
    rays = view.pixel_rays()
    planes = room.inverse_m(rays)
    ratio = SLACK * far_m / near_m
    back = float(np.max(planes)) / ratio**BACKGROUND_SHARE  # a wall that faces the camera
    planes.append(np.full(frame.padded_size, back))
    floor = largest(planes)
    farthest = float(floor.min())
    nearest = max(farthest * ratio ** generator.uniform(*THINGS_SHARE), float(floor.max()))
    pieces = _things(view, room, frame, floor, nearest, params, generator)

    rgb, sources = _painted_walls(view, room, rays, planes, sampler, generator)
    painted = [_painted(view, room, piece, sampler, generator) for piece in pieces]
    seen = floor.copy()
    for piece in pieces:
        part = seen[piece.shape.window]
        np.copyto(part, piece.inverse_m, where=piece.shape.alpha.numpy() >= 0.5)

    nearest = max([float(floor.max()), *(piece.nearest_inverse_m for piece in pieces)])
    scale = _scale(frame, seen, (farthest, nearest), working_m, before_m, params, generator)

    def distance_m(inverse_m: Array) -> torch.Tensor:
        return torch.from_numpy((scale / inverse_m + before_m).clip(*working_m)).float()

    layers, sharp = [Layer(rgb, None, distance_m(floor))], rgb.clone()
    for piece, (colour, source) in zip(pieces, painted, strict=True):
        sources.append(source)
        inverse_dpt = distance_m(piece.inverse_m).reciprocal()
        layers.append(layer_of(frame, piece.shape, colour, inverse_dpt))
        blend(sharp, piece.shape, colour)
    return Composition(
        tuple(layers), frame.crop(sharp), frame.crop(distance_m(seen)), unique(sources)
    )


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


def _things(
    view: View,
    room: Room,
    frame: Frame,
    floor: Array,
    nearest: float,
    params: CaptureParams,
    generator: np.random.Generator,
) -> list[Piece]:
    """Things before the room's inverse distances `floor`, none beyond `nearest`, far ones first."""
    count = int(generator.integers(params.objects[0], params.objects[1] + 1))
    pieces: list[Piece] = []
    for share in (np.arange(count) + generator.random(count)) / max(count, 1):
        for _ in range(TRIES):
            x, y = generator.uniform((0, 0), (frame.width_px, frame.height_px)) + frame.margin_px
            behind = float(floor[int(y), int(x)])
            inverse = inverse_distance_dpt((behind, nearest), float(share), params.distance_prior)
            place = Place(view, room, view.rays(np.array(x), np.array(y)) / inverse, 1 / inverse)
            found = _visible(view, random_thing(place, frame, generator), floor, nearest)
            if found and not any(_cross(one, other) for one in found for other in pieces):
                pieces += found
                break
    return back_to_front(pieces)


def _visible(view: View, solids: list[Solid], floor: Array, nearest: float) -> list[Piece]:
    """A thing's pieces that are seen; none if one of them is too near."""
    if any(view.depth_m(solid.outline()).min() * nearest < 1 for solid in solids):
        return []
    found = (Piece.seen(view, solid, floor) for solid in solids)
    return [piece for piece in found if piece is not None]


def _cross(one: Piece, other: Piece) -> bool:
    """Whether two solids pass through each other, as far as can be seen."""
    ahead = one.ahead_of(other)
    return ahead.size > 0 and ahead.min() < -EPSILON and ahead.max() > EPSILON


def back_to_front(pieces: list[Piece]) -> list[Piece]:
    """The painter's order: no piece comes before what it occludes."""
    left = sorted(pieces, key=lambda piece: float(np.median(piece.inverse_m)))
    over = {
        (i, j): ahead.size > 0 and float(ahead.mean()) > 0
        for i, one in enumerate(left)
        for j, other in enumerate(left)
        if i != j and (ahead := one.ahead_of(other)) is not None
    }
    waiting, order = list(range(len(left))), []
    while waiting:
        first = min(waiting, key=lambda i: sum(over[i, j] for j in waiting if j != i))
        order.append(left[first])
        waiting.remove(first)
    return order


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


def _inverse_m(view: View, solid: Solid, shape: Shape) -> Array:
    """Inverse distance of a solid in its box `[h, w]`; at its rim that of the nearest ray to it."""
    faces, hit = solid.faces(view.pixel_rays(shape.window))
    depth = view.depth_m(solid.outline())
    entry = entry_m(faces)
    return 1 / np.where(hit, entry, entry.clip(depth.min(), depth.max()))


def _painted(
    view: View, room: Room, piece: Piece, sampler: TextureSampler, generator: np.random.Generator
) -> tuple[torch.Tensor, str]:
    """Colour `[3, h, w]` of a piece's box, and the source of its texture."""
    rows, cols = piece.shape.window
    wide = slice(rows.start - 1, rows.stop + 1), slice(cols.start - 1, cols.stop + 1)
    rays = view.pixel_rays(wide)
    faces, _ = piece.solid.faces(rays)
    shares = soft_maximum([face.entry_m for face in faces])
    covered = np.pad(piece.shape.alpha.numpy() > 0, 1)
    masks = [covered & (share > 0) for share in shares]
    parts = [(mask, face.along) for mask, face in zip(masks, faces, strict=True)]
    colours, source = textured(sampler, parts, generator)
    light = np.zeros((*covered.shape, 3))
    points = rays * np.pad(1 / piece.inverse_m, 1, mode="edge")[..., None]
    for face, share, mask, colour in zip(faces, shares, masks, colours, strict=True):
        lit = room.light(points, face.normal)
        light[mask] += (share * lit)[mask][:, None] * colour
    return as_picture(light[1:-1, 1:-1].clip(DARKEST, 1.0)), source


def _painted_walls(
    view: View,
    room: Room,
    rays: Array,
    inverse_m: list[Array],
    sampler: TextureSampler,
    generator: np.random.Generator,
) -> tuple[torch.Tensor, list[str]]:
    """Colour `[3, h, w]` of the room, and sources of its textures.

    `inverse_m` has `[h, w]` for each of its planes [1/m] and one more, which faces the camera.
    """
    light, sources = np.zeros((*rays.shape[:2], 3)), []
    normals = [*room.normals, view.axes[:, 2]]
    for inverse, share, normal in zip(inverse_m, soft_maximum(inverse_m), normals, strict=True):
        mask = share > 0
        if not mask.any():
            continue
        points = rays / np.where(inverse > 0, inverse, np.inf)[..., None]
        axes = facing(normal, np.array([1.0, 0.0, 0.0]))
        along = points @ axes[0], points @ axes[1]
        (colour,), source = textured(sampler, [(mask, along)], generator)
        sources.append(source)
        light[mask] += (share[mask] * room.light(points[mask], -normal))[:, None] * colour
    return as_picture(light.clip(DARKEST, 1.0)), sources


def _scale(
    frame: Frame,
    seen: Array,
    extremes: Interval,
    working_m: Interval,
    before_m: float,
    params: CaptureParams,
    generator: np.random.Generator,
) -> float:
    """Factor of distances that puts a random pixel to a random distance of the prior.

    `seen` are inverse distances on the padded frame `[h, w]` [1/m]; `extremes` are the lowest and
    the highest of all that is rendered, which stay within the range.
    """
    y, x = generator.integers((0, 0), (frame.height_px, frame.width_px)) + frame.margin_px
    range_dpt = 1 / working_m[1], 1 / working_m[0]
    share = float(generator.random())
    aim_m = 1 / inverse_distance_dpt(range_dpt, share, params.distance_prior) - before_m
    lowest = (working_m[0] - before_m) * extremes[1]
    highest = (working_m[1] - before_m) * extremes[0]
    return float(np.clip(aim_m * seen[y, x], lowest, highest))
