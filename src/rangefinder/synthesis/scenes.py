"""Charts and scenes composed in sharp layers, with the true distance of every pixel.

Scenes are composed at sensor resolution on the padded frame, larger than the picture by the radius
of the blur kernels. Inverse distance is linear in image coordinates on a plane, so surfaces are
made in dioptres. No texture depends on the distance of its surface.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from rangefinder.config import CaptureParams, Interval
from rangefinder.config.imaging import DistancePrior
from rangefinder.optics.rendering import Layer
from rangefinder.synthesis.shapes import Shape, random_shape
from rangefinder.synthesis.textures import TextureSampler

Share = TypeVar("Share", float, NDArray[np.float64])
CHART_PIECES = (1, 5)  # areas on top of a chart's first texture
CHART_RADIUS = (0.12, 0.6)  # of the picture's height
MAX_POSTERS = 2  # areas on a background's texture
OBJECT_RADIUS = (0.06, 0.32)  # of the picture's height
SLANTED_BACKGROUND_SHARE = 0.8
FARTHEST_SHARE = 0.55  # part of the range, from its far end, where backgrounds start
SLANT = (0.03, 0.2)  # inverse distance from middle to edge / that of the range
WALL_RISE = (0.1, 0.7)  # of what is left of the range
FOLD_RISE = (0.1, 0.9)
TILT = (-0.15, 0.15)  # of horizons and corners [rad]
MIN_GAP_DPT = 0.005  # from an object to what it occludes, but no more than
MIN_GAP_SHARE = 0.005  # of the range
TRIES = 12


@dataclass(frozen=True)
class Frame:
    """The picture's size and the margin around it [px]."""

    height_px: int
    width_px: int
    margin_px: int

    @property
    def padded_size(self) -> tuple[int, int]:
        """Rows and columns with the margin."""
        return self.height_px + 2 * self.margin_px, self.width_px + 2 * self.margin_px

    def crop(self, values: Tensor) -> Tensor:
        """The picture `[..., H, W]` of a padded frame."""
        rows = slice(self.margin_px, self.margin_px + self.height_px)
        cols = slice(self.margin_px, self.margin_px + self.width_px)
        return values[..., rows, cols]


@dataclass(frozen=True)
class Composition:
    """A scene in front of the lens."""

    layers: tuple[Layer, ...]  # back to front, on the padded frame
    sharp: Tensor  # `[3, H, W]` the picture without any blur, linear light
    distance_m: Tensor  # `[H, W]` of the front-most layer that covers at least half of the pixel
    sources: tuple[str, ...]  # sources of its textures, without repeats


def compose_chart(
    frame: Frame, sampler: TextureSampler, distance_m: float, generator: np.random.Generator
) -> Composition:
    """A frontal plane over the whole frame, a mosaic of several textures, at one distance [m]."""
    pieces = int(generator.integers(CHART_PIECES[0], CHART_PIECES[1] + 1))
    rgb, sources = _mosaic(frame, sampler, pieces, generator)
    everywhere_m = torch.full((frame.height_px, frame.width_px), distance_m)
    layers = (Layer(rgb, None, distance_m),)
    return Composition(layers, frame.crop(rgb), everywhere_m, unique(sources))


def compose_scene(
    frame: Frame,
    sampler: TextureSampler,
    working_m: Interval,
    params: CaptureParams,
    generator: np.random.Generator,
) -> Composition:
    """A background with objects of the sampler's textures in front of it, far ones first."""
    near_dpt, far_dpt = 1 / working_m[0], 1 / working_m[1]
    prior = params.distance_prior
    rgb, inverse, sources = _background(frame, sampler, (far_dpt, near_dpt), prior, generator)
    layers = [Layer(rgb, None, 1 / float(inverse) if inverse.ndim == 0 else 1 / inverse)]
    below = inverse.expand(frame.padded_size).clone()
    sharp = rgb.clone()
    count = int(generator.integers(params.objects[0], params.objects[1] + 1))
    spread = (np.arange(count) + generator.random(count)) / max(count, 1)
    lowest = float(below.min())
    for target in inverse_distance_dpt((lowest, near_dpt), spread, prior):
        slanted = generator.random() < params.slanted_share
        placed = _place(frame, below, float(target), slanted, (far_dpt, near_dpt), generator)
        if placed is None:
            continue
        shape, inverse = placed
        texture = sampler.sample(*shape.size, generator)
        sources.append(texture.source)
        layers.append(layer_of(frame, shape, texture.rgb, inverse))
        blend(sharp, shape, texture.rgb)
        seen = below[shape.window]
        seen.copy_(torch.where(shape.alpha >= 0.5, inverse, seen))
    return Composition(tuple(layers), frame.crop(sharp), 1 / frame.crop(below), unique(sources))


def inverse_distance_dpt(range_dpt: Interval, share: Share, prior: DistancePrior) -> Share:
    """Inverse distances [dpt] at shares 0..1 (any shape) of a range [dpt], far to near.

    Shares that are uniform give distances of the prior: uniform in dioptres, as blur changes, or in
    the logarithm, as things at every scale are likely.
    """
    low, high = range_dpt
    return low + (high - low) * share if prior == "inverse" else low * (high / low) ** share


def unique(sources: Sequence[str]) -> tuple[str, ...]:
    """Sources without repeats, in order."""
    return tuple(sorted(set(sources)))


def blend(below: Tensor, shape: Shape, rgb: Tensor) -> None:
    """Composite a surface over a padded frame, in place."""
    window = below[:, *shape.window]
    window.add_((rgb - window) * shape.alpha)


def _mosaic(
    frame: Frame, sampler: TextureSampler, pieces: int, generator: np.random.Generator
) -> tuple[Tensor, list[str]]:
    """A padded frame `[3, h, w]` of one texture with `pieces` areas of others on it."""
    first = sampler.sample(*frame.padded_size, generator)
    rgb, sources = first.rgb, [first.source]
    for _ in range(pieces):
        radius = log_uniform(CHART_RADIUS, generator) * frame.height_px
        shape = random_shape(*frame.padded_size, radius, generator)
        if shape is not None:
            texture = sampler.sample(*shape.size, generator)
            blend(rgb, shape, texture.rgb)
            sources.append(texture.source)
    return rgb, sources


def log_uniform(bounds: Interval, generator: np.random.Generator) -> float:
    """A number that is as likely in every octave between two bounds."""
    return math.exp(generator.uniform(math.log(bounds[0]), math.log(bounds[1])))


def _background(
    frame: Frame,
    sampler: TextureSampler,
    range_dpt: Interval,
    prior: DistancePrior,
    generator: np.random.Generator,
) -> tuple[Tensor, Tensor, list[str]]:
    """Colour `[3, h, w]`, inverse distance `[h, w]` or `[]` [dpt], and texture sources."""
    rgb, sources = _mosaic(frame, sampler, int(generator.integers(MAX_POSTERS + 1)), generator)
    high = range_dpt[1]
    first = FARTHEST_SHARE * generator.random() ** 2
    start = float(inverse_distance_dpt(range_dpt, first, prior))
    if generator.random() >= SLANTED_BACKGROUND_SHARE:
        return rgb, torch.tensor(start, dtype=torch.float32), sources
    kind = generator.choice(["wall", "floor", "corner"])
    across, rise = _relief(frame, kind, generator)
    if prior == "log":
        nearest = inverse_distance_dpt((start, high), float(rise.max()), prior)
        rise = rise * float((nearest - start) / (high - start) / rise.max())
    if kind != "wall":
        other = sampler.sample(*frame.padded_size, generator)
        sources.append(other.source)
        rgb = rgb + (other.rgb - rgb) * (across * frame.padded_size[0] + 0.5).clamp(0, 1)
    return rgb, (start + rise * (high - start)).clamp(max=high), sources


def _relief(frame: Frame, kind: str, generator: np.random.Generator) -> tuple[Tensor, Tensor]:
    """Relief of a wall (one slanted plane), floor (below a frontal wall) or corner (of two walls).

    Returns:
        Signed distance from the planes' common line [padded heights] and rise of inverse distance,
        0..1, both `[h, w]`.
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
    """Coordinate of pixel centres along a direction [padded heights], `[h, w]`."""
    y, x = ((torch.arange(side) + 0.5) / frame.padded_size[0] for side in frame.padded_size)
    return x * math.cos(angle) + y[:, None] * math.sin(angle)


def _place(
    frame: Frame,
    below: Tensor,
    target_dpt: float,
    slanted: bool,
    range_dpt: Interval,
    generator: np.random.Generator,
) -> tuple[Shape, Tensor] | None:
    """An object at about `target_dpt`, in front of everything it occludes.

    Returns:
        The shape and its inverse distance (`[]` or `shape.size`); None if no shape covers a pixel.
    """
    last: tuple[Shape, Tensor] | None = None
    gap_dpt = min(MIN_GAP_DPT, MIN_GAP_SHARE * (range_dpt[1] - range_dpt[0]))
    for _ in range(TRIES):
        radius = log_uniform(OBJECT_RADIUS, generator) * frame.height_px
        shape = random_shape(*frame.padded_size, radius, generator)
        if shape is None:
            continue
        plane = _plane(shape, target_dpt, slanted, range_dpt, generator)
        occluded = below[shape.window]
        behind = float((occluded - plane)[shape.alpha > 0].max()) + gap_dpt
        moved = plane + max(behind, 0.0)
        if float(moved.max()) <= range_dpt[1]:
            return shape, moved
        last = shape, torch.maximum(occluded, plane).clamp(max=range_dpt[1])
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
    swing = min(generator.uniform(*SLANT) * (high - low), middle_dpt - low, high - middle_dpt)
    y, x = (torch.arange(side) + 0.5 - side / 2 for side in shape.size)
    angle = generator.uniform(0, 2 * math.pi)
    across = x * math.cos(angle) + (y * math.sin(angle))[:, None]
    return middle_dpt + swing * across / across.abs().max().clamp(min=1e-3)


def layer_of(frame: Frame, shape: Shape, rgb: Tensor, inverse_dpt: Tensor) -> Layer:
    """A layer on the whole padded frame, empty outside the shape's box."""
    whole = torch.zeros(3, *frame.padded_size)
    whole[:, *shape.window] = rgb
    alpha = torch.zeros(frame.padded_size)
    alpha[shape.window] = shape.alpha
    if inverse_dpt.ndim == 0:
        return Layer(whole, alpha, 1 / float(inverse_dpt))
    distance_m = torch.full(frame.padded_size, 1 / float(inverse_dpt.mean()))
    distance_m[shape.window] = 1 / inverse_dpt
    return Layer(whole, alpha, distance_m)
