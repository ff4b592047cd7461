"""Scenes like rooms, in perspective: floor, walls, ceiling, and things that stand, lie or hang.

A room is laid out in the view of a tilted camera, then scaled as a whole, so that a random pixel of
it is at a random distance of the prior: near or far is in the blur, hardly in the content. Sizes of
things are drawn in pixels, wherever they are. What is nearer than the range of distances is not
placed; what would be farther is cut off by a wall that faces the camera.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch

from rangefinder.camera import Camera
from rangefinder.config import CaptureParams, Interval
from rangefinder.optics.blur import reference_m
from rangefinder.optics.rendering import Layer
from rangefinder.synthesis.furniture import Place, random_thing
from rangefinder.synthesis.mapping import as_picture, largest, soft_maximum, textured
from rangefinder.synthesis.room_layout import Room, random_room, random_view
from rangefinder.synthesis.scenes import (
    Composition,
    Frame,
    blend,
    inverse_distance_dpt,
    layer_of,
    unique,
)
from rangefinder.synthesis.shapes import Shape
from rangefinder.synthesis.solids import Array, Solid, View, drawn, entry_m, facing
from rangefinder.synthesis.textures import DARKEST, TextureSampler

BACKGROUND_SHARE = 0.4  # of the logarithm of the range that a room without things may span
THINGS_SHARE = (0.0, 1.0)  # of that logarithm, to the nearest place for things
SLACK = 0.97  # of the range, so that rounding does not leave it
TRIES = 6  # places for a thing
EPSILON = 1e-3  # relative difference of distances that is more than contact


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
