"""Charts and scenes composed in sharp layers, with the true distance of every pixel.

Scenes are composed at sensor resolution on a canvas wider than the frame by the blur kernel's
radius. Inverse distance is linear in image coordinates on a plane, so surfaces are made in
dioptres. Nothing about a texture depends on the distance of the surface that shows it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from rangefinder.captures.shapes import Shape, random_shape
from rangefinder.captures.textures import Painter
from rangefinder.config import CaptureParams, Interval
from rangefinder.optics.render import Layer

CHART_PIECES = (1, 5)  # areas on top of a chart's first texture
CHART_RADIUS = (0.12, 0.6)  # of the frame's height
POSTERS = 2  # most areas on a background's texture
OBJECT_RADIUS = (0.06, 0.32)  # of the frame's height
SLANTED_BACKGROUND_SHARE = 0.8
FARTHEST_SHARE = 0.55  # part of the range, from its far end, where backgrounds start
SLANT = (0.03, 0.2)  # inverse distance from middle to rim / that of the range
WALL_RISE = (0.1, 0.7)  # of what is left of the range
FOLD_RISE = (0.1, 0.9)
TILT = (-0.15, 0.15)  # of horizons and corners [rad]
GAP_DPT = 0.005  # least step from a thing to what it hides
TRIES = 12


@dataclass(frozen=True)
class Frame:
    """The picture's size and the margin around it [px]."""

    height_px: int
    width_px: int
    margin_px: int

    @property
    def canvas(self) -> tuple[int, int]:
        """Rows and columns with the margin."""
        return self.height_px + 2 * self.margin_px, self.width_px + 2 * self.margin_px

    def crop(self, values: Tensor) -> Tensor:
        """Cut `[..., H, W]` out of a canvas."""
        rows = slice(self.margin_px, self.margin_px + self.height_px)
        cols = slice(self.margin_px, self.margin_px + self.width_px)
        return values[..., rows, cols]


@dataclass(frozen=True)
class Composition:
    """What stands in front of the lens.

    Attributes:
        layers: Back to front, on the canvas.
        sharp: `[3, H, W]` the frame without any blur, linear light.
        distance_m: `[H, W]` of the front-most layer that covers at least half of the pixel.
        sources: Textures shown, without repeats.
    """

    layers: tuple[Layer, ...]
    sharp: Tensor
    distance_m: Tensor
    sources: tuple[str, ...]


def compose_chart(
    frame: Frame, painter: Painter, distance_m: float, generator: np.random.Generator
) -> Composition:
    """A flat plane over the whole frame, a mosaic of several textures, at one distance [m]."""
    pieces = int(generator.integers(CHART_PIECES[0], CHART_PIECES[1] + 1))
    rgb, sources = _mosaic(frame, painter, pieces, generator)
    return Composition(
        layers=(Layer(rgb=rgb, alpha=None, distance_m=distance_m),),
        sharp=frame.crop(rgb),
        distance_m=torch.full((frame.height_px, frame.width_px), distance_m),
        sources=_unique(sources),
    )


def compose_scene(
    frame: Frame,
    painter: Painter,
    working_m: Interval,
    params: CaptureParams,
    generator: np.random.Generator,
) -> Composition:
    """A background with things in front of it, far ones first.

    Args:
        frame: Size of the picture.
        painter: Textures of the scene's split.
        working_m: Nearest and farthest distance.
        params: How many things, and the share of them that is slanted.
        generator: Source of randomness.
    """
    near_dpt, far_dpt = 1 / working_m[0], 1 / working_m[1]
    rgb, inverse, sources = _background(frame, painter, (far_dpt, near_dpt), generator)
    layers = [Layer(rgb=rgb, alpha=None, distance_m=_distance(inverse))]
    below = inverse.expand(frame.canvas).clone()
    sharp = rgb.clone()
    count = int(generator.integers(params.objects[0], params.objects[1] + 1))
    spread = (np.arange(count) + generator.random(count)) / max(count, 1)
    lowest = float(below.min())
    for target in lowest + spread * (near_dpt - lowest):
        slanted = generator.random() < params.slanted_share
        placed = _place(frame, below, float(target), slanted, (far_dpt, near_dpt), generator)
        if placed is None:
            continue
        shape, inverse = placed
        texture = painter.paint(*shape.size, generator)
        sources.append(texture.source)
        layers.append(_layer(frame, shape, texture.rgb, inverse))
        _blend(sharp, shape, texture.rgb)
        seen = below[shape.window]
        seen.copy_(torch.where(shape.alpha >= 0.5, inverse, seen))
    return Composition(tuple(layers), frame.crop(sharp), 1 / frame.crop(below), _unique(sources))


def _unique(sources: Sequence[str]) -> tuple[str, ...]:
    return tuple(sorted(set(sources)))


def _distance(inverse_dpt: Tensor) -> float | Tensor:
    return 1 / float(inverse_dpt) if inverse_dpt.ndim == 0 else 1 / inverse_dpt


def _blend(canvas: Tensor, shape: Shape, rgb: Tensor) -> None:
    """Lay a surface over a canvas in place."""
    window = canvas[:, shape.window[0], shape.window[1]]
    window.add_((rgb - window) * shape.alpha)


def _mosaic(
    frame: Frame, painter: Painter, pieces: int, generator: np.random.Generator
) -> tuple[Tensor, list[str]]:
    """A canvas `[3, h, w]` of one texture with `pieces` areas of others on it."""
    height, width = frame.canvas
    first = painter.paint(height, width, generator)
    rgb, sources = first.rgb, [first.source]
    for _ in range(pieces):
        radius = _log_uniform(CHART_RADIUS, generator) * frame.height_px
        shape = random_shape(height, width, radius, generator)
        if shape is not None:
            texture = painter.paint(*shape.size, generator)
            _blend(rgb, shape, texture.rgb)
            sources.append(texture.source)
    return rgb, sources


def _log_uniform(bounds: Interval, generator: np.random.Generator) -> float:
    return math.exp(generator.uniform(math.log(bounds[0]), math.log(bounds[1])))


def _background(
    frame: Frame, painter: Painter, range_dpt: Interval, generator: np.random.Generator
) -> tuple[Tensor, Tensor, list[str]]:
    """Colour `[3, h, w]`, inverse distance `[h, w]` or `[]` [dpt], and texture sources."""
    rgb, sources = _mosaic(frame, painter, int(generator.integers(POSTERS + 1)), generator)
    low, high = range_dpt
    start = low + (high - low) * FARTHEST_SHARE * generator.random() ** 2
    if generator.random() >= SLANTED_BACKGROUND_SHARE:
        return rgb, torch.tensor(start, dtype=torch.float32), sources
    kind = generator.choice(["wall", "floor", "corner"])
    across, rise = _relief(frame, kind, generator)
    if kind != "wall":
        other = painter.paint(*frame.canvas, generator)
        sources.append(other.source)
        rgb = rgb + (other.rgb - rgb) * (across * frame.canvas[0] + 0.5).clamp(0, 1)
    return rgb, (start + rise * (high - start)).clamp(max=high), sources


def _relief(frame: Frame, kind: str, generator: np.random.Generator) -> tuple[Tensor, Tensor]:
    """Where two planes meet, and how far the background comes forward.

    Args:
        frame: Size of the picture.
        kind: wall (one slanted plane), floor (below a frontal wall) or corner (of two walls).
        generator: Source of randomness.

    Returns:
        Signed distance from the planes' common line [canvas heights] and rise 0..1, both `[h, w]`.
    """
    if kind == "wall":
        across = _across(frame, generator.uniform(0, 2 * math.pi))
        across = across - across.min()
        return across, across / across.max() * generator.uniform(*WALL_RISE)
    across = _across(frame, generator.uniform(*TILT) + (math.pi / 2 if kind == "floor" else 0.0))
    span = across.max() - across.min()
    across = across - (across.min() + span * generator.uniform(0.25, 0.75))
    after = across.clamp(min=0) / across.max() * generator.uniform(*FOLD_RISE)
    if kind == "floor":
        return across, after
    before = across.clamp(max=0) / across.min() * generator.uniform(*FOLD_RISE)
    return across, before + after


def _across(frame: Frame, angle: float) -> Tensor:
    """Coordinate of pixel centres along a direction [canvas heights], `[h, w]`."""
    height, width = frame.canvas
    x = (torch.arange(width) + 0.5) / height
    y = (torch.arange(height) + 0.5) / height
    return x * math.cos(angle) + y[:, None] * math.sin(angle)


def _place(
    frame: Frame,
    below: Tensor,
    target_dpt: float,
    slanted: bool,
    range_dpt: Interval,
    generator: np.random.Generator,
) -> tuple[Shape, Tensor] | None:
    """Find a place where a thing at about `target_dpt` stands in front of everything it hides.

    Returns:
        The shape and its inverse distance (`[]` or as the shape's box), or None if no shape
        of this frame's size covers a pixel.
    """
    last: tuple[Shape, Tensor] | None = None
    for _ in range(TRIES):
        radius = _log_uniform(OBJECT_RADIUS, generator) * frame.height_px
        shape = random_shape(*frame.canvas, radius, generator)
        if shape is None:
            continue
        plane = _plane(shape, target_dpt, slanted, range_dpt, generator)
        covered = shape.alpha > 0
        hidden = below[shape.window]
        behind = float((hidden - plane)[covered].max()) + GAP_DPT
        moved = plane + max(behind, 0.0)
        if float(moved.max()) <= range_dpt[1]:
            return shape, moved
        last = shape, torch.maximum(hidden, plane).clamp(max=range_dpt[1])
    return last


def _plane(
    shape: Shape,
    middle_dpt: float,
    slanted: bool,
    range_dpt: Interval,
    generator: np.random.Generator,
) -> Tensor:
    """Inverse distance of a frontal (`[]`) or slanted (`[h, w]`) plane, inside the range [dpt]."""
    if not slanted:
        return torch.tensor(middle_dpt, dtype=torch.float32)
    low, high = range_dpt
    swing = generator.uniform(*SLANT) * (high - low)
    swing = min(swing, middle_dpt - low, high - middle_dpt)
    height, width = shape.size
    angle = generator.uniform(0, 2 * math.pi)
    x = (torch.arange(width) + 0.5 - width / 2) * math.cos(angle)
    y = (torch.arange(height) + 0.5 - height / 2) * math.sin(angle)
    across = x + y[:, None]
    return middle_dpt + swing * across / across.abs().max().clamp(min=1e-3)


def _layer(frame: Frame, shape: Shape, rgb: Tensor, inverse_dpt: Tensor) -> Layer:
    """A layer on the whole canvas, empty outside the shape's box."""
    canvas = torch.zeros(3, *frame.canvas)
    canvas[:, shape.window[0], shape.window[1]] = rgb
    alpha = torch.zeros(frame.canvas)
    alpha[shape.window] = shape.alpha
    if inverse_dpt.ndim == 0:
        return Layer(rgb=canvas, alpha=alpha, distance_m=1 / float(inverse_dpt))
    distance_m = torch.full(frame.canvas, 1 / float(inverse_dpt.mean()))
    distance_m[shape.window] = 1 / inverse_dpt
    return Layer(rgb=canvas, alpha=alpha, distance_m=distance_m)
