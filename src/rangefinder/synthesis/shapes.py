"""Random outlines (polygons, boxes, ellipses, blobs), rasterised with antialiasing."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageDraw
from torch import Tensor

Points = NDArray[np.float64]

SUPERSAMPLE = 4
HOLE_SHARE = 0.12
MAX_ASPECT = 6.0
CURVE_POINTS = 96


@dataclass(frozen=True)
class Shape:
    """A rasterised outline in its bounding box."""

    left: int  # first column of the box [px]
    top: int  # first row of the box [px]
    alpha: Tensor  # `[h, w]` covered share of every pixel of the box, 0..1

    @property
    def size(self) -> tuple[int, int]:
        """Rows and columns of the box."""
        return self.alpha.shape[0], self.alpha.shape[1]

    @property
    def window(self) -> tuple[slice, slice]:
        """Rows and columns of the box in the picture."""
        height, width = self.size
        return slice(self.top, self.top + height), slice(self.left, self.left + width)


def outline(radius_px: float, generator: np.random.Generator) -> Points:
    """Corners `[n, 2]` (x, y) [px] of a random outline around (0, 0), of about a disc's area."""
    kind = generator.choice(["polygon", "box", "ellipse", "blob"])
    if kind == "polygon":
        corners = int(generator.integers(3, 8))
        angle = np.sort(np.arange(corners) + generator.uniform(-0.35, 0.35, corners)) / corners
        reach = generator.uniform(0.55, 1.35, corners)
        aspect = generator.uniform(0.6, 1.0)
    elif kind == "box":
        angle, reach = np.arange(4) / 4 + 1 / 8, np.full(4, math.sqrt(math.pi / 2))
        aspect = MAX_ASPECT ** generator.uniform(-1, 0)
    else:
        angle = np.arange(CURVE_POINTS) / CURVE_POINTS
        reach = np.ones(CURVE_POINTS)
        aspect = generator.uniform(0.4, 1.0)
        if kind == "blob":
            for order in range(2, 6):
                phase = 2 * np.pi * order * angle + generator.uniform(0, 2 * np.pi)
                reach += generator.normal(0, 0.22 / order) * np.cos(phase)
    turn = 2 * np.pi * angle
    points = np.stack([np.cos(turn) / math.sqrt(aspect), np.sin(turn) * math.sqrt(aspect)], -1)
    points *= radius_px * np.maximum(reach, 0.2)[:, None]
    rotation = generator.uniform(0, np.pi)
    cos, sin = math.cos(rotation), math.sin(rotation)
    return np.asarray(points @ np.array([[cos, sin], [-sin, cos]]))


def random_shape(
    height: int, width: int, radius_px: float, generator: np.random.Generator
) -> Shape | None:
    """A random shape in a picture of `height` x `width` px; None if it covers no pixel by half."""
    centre = generator.uniform((0, 0), (width, height))
    corners = outline(radius_px, generator)
    hole = corners * generator.uniform(0.4, 0.8) if generator.random() < HOLE_SHARE else None
    return draw(height, width, corners + centre, None if hole is None else hole + centre)


def draw(height: int, width: int, corners: Points, hole: Points | None = None) -> Shape | None:
    """Rasterise an outline in a picture of `height` x `width` px.

    Args:
        height: Rows.
        width: Columns.
        corners: `[n, 2]` (x, y) [px]; pixel i covers [i, i + 1).
        hole: Outline of a hole, `[m, 2]`.

    Returns:
        The shape, cropped to the picture; None if it covers no pixel by half.
    """
    limit = np.array([width, height])
    first = np.clip(np.floor(corners.min(axis=0)), 0, limit).astype(int)
    last = np.clip(np.ceil(corners.max(axis=0)), 0, limit).astype(int)
    box = last - first
    if box.min() < 1:
        return None
    picture = Image.new("L", (int(box[0]) * SUPERSAMPLE, int(box[1]) * SUPERSAMPLE))
    pen = ImageDraw.Draw(picture)
    for points, fill in ((corners, 255), (hole, 0)):
        if points is not None:
            pen.polygon(((points - first) * SUPERSAMPLE).ravel().tolist(), fill=fill)
    covered = np.asarray(picture.reduce(SUPERSAMPLE), dtype=np.float32) / 255
    if covered.max() < 0.5:
        return None
    return Shape(int(first[0]), int(first[1]), torch.from_numpy(covered))
