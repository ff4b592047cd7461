"""Textures on surfaces in perspective: every pixel is the mean of what it covers.

Import this module only where captures are rendered: it compiles on first use.
"""

from __future__ import annotations

import math
from functools import reduce

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from rangefinder.common.compute import compiled
from rangefinder.synthesis.textures import TextureSampler

Float = NDArray[np.float32]
Array = NDArray[np.float64]
MOST_TAPS = 8  # samples of a pixel along each of its sides
LEAST_TEXELS = 1.6  # per pixel, where a surface is largest: bilinear samples blur no more than that
LARGEST = 0.02  # share of a surface's pixels that may be larger than that
MOST_SIDE = 448  # of a texture [texels]; it is mirrored beyond
LEAST_SIDE = 8


def textured(
    sampler: TextureSampler,
    parts: list[tuple[NDArray[np.bool_], tuple[Array, Array]]],
    generator: np.random.Generator,
) -> tuple[list[Float], str]:
    """One texture of the sampler on the parts of a surface, of random scale and place.

    Args:
        sampler: Of textures.
        parts: Of the surface: which pixels show it `[h, w]`, and two coordinates along it
            `[h, w]`, in any unit.
        generator: Source of randomness.

    Returns:
        Linear light `[n, 3]` of the pixels of every part; and the texture's source.
    """
    seen = [_footprints(mask, along) for mask, along in parts]
    sizes = np.concatenate([_smallest(steps) for _, steps in seen])
    density = LEAST_TEXELS / max(float(np.quantile(sizes, LARGEST)), 1e-12)
    spans = [np.ptp(place, axis=0) for place, _ in seen if len(place)]
    height, width = (
        int(np.clip(math.ceil(density * span), LEAST_SIDE, MOST_SIDE))
        for span in np.maximum.reduce(spans)
    )
    texture = sampler.sample(height, width, generator)
    texels = np.ascontiguousarray(texture.rgb.permute(1, 2, 0).numpy(), dtype=np.float32)
    found = []
    for place, steps in seen:
        out = np.zeros((len(place), 3), np.float32)
        start = place.min(axis=0) if len(place) else 0.0
        area_means(texels, density * (place - start), density * steps, out)
        found.append(out)
    return found, texture.source


def _footprints(mask: NDArray[np.bool_], along: tuple[Array, Array]) -> tuple[Array, Array]:
    """Of n pixels: coordinates `[n, 2]`, and their steps `[n, 4]`; see `area_means`."""
    steps = [np.gradient(one, axis=axis)[mask] for one in along for axis in (1, 0)]
    return np.stack([one[mask] for one in along], axis=-1), np.stack(steps, axis=-1)


def _smallest(steps: Array) -> Array:
    """Least extent of pixels on the surface, `[n]`: area by the longer side."""
    a, b, c, d = steps.T
    longest = np.maximum(np.hypot(a, c), np.hypot(b, d))
    return np.asarray(np.abs(a * d - b * c) / np.maximum(longest, 1e-300))


@compiled
def area_means(texels: Float, place: Array, steps: Array, out: Float) -> None:
    """Mean light of pixels over what they cover of a texture, mirrored beyond its edges.

    Args:
        texels: `[h, w, 3]` linear light.
        place: `[n, 2]` row and column of the pixels' middles in the texture.
        steps: `[n, 4]` change of the row across and down a pixel, and of the column.
        out: `[n, 3]` receives the light.
    """
    height, width = texels.shape[0], texels.shape[1]
    for n in range(place.shape[0]):
        row_x, row_y, col_x, col_y = steps[n, 0], steps[n, 1], steps[n, 2], steps[n, 3]
        many_x = min(max(math.ceil(math.hypot(row_x, col_x)), 1), MOST_TAPS)
        many_y = min(max(math.ceil(math.hypot(row_y, col_y)), 1), MOST_TAPS)
        red, green, blue = np.float32(0), np.float32(0), np.float32(0)
        for i in range(many_y):
            below = (i + 0.5) / many_y - 0.5
            for j in range(many_x):
                right = (j + 0.5) / many_x - 0.5
                row = _mirrored(place[n, 0] + right * row_x + below * row_y, height)
                col = _mirrored(place[n, 1] + right * col_x + below * col_y, width)
                y0, x0 = int(row), int(col)
                y1, x1 = min(y0 + 1, height - 1), min(x0 + 1, width - 1)
                v, u = np.float32(row - y0), np.float32(col - x0)
                c, d = v * (np.float32(1) - u), v * u
                a, b = np.float32(1) - u - c, u - d
                p, q, r, s = texels[y0, x0], texels[y0, x1], texels[y1, x0], texels[y1, x1]
                red += a * p[0] + b * q[0] + c * r[0] + d * s[0]
                green += a * p[1] + b * q[1] + c * r[1] + d * s[1]
                blue += a * p[2] + b * q[2] + c * r[2] + d * s[2]
        many = np.float32(many_x * many_y)
        out[n, 0], out[n, 1], out[n, 2] = red / many, green / many, blue / many


@compiled
def _mirrored(place: float, size: int) -> float:
    """A coordinate folded into 0..size - 1."""
    folded = place - 2 * size * math.floor(place / (2 * size))
    return min(2 * size - folded if folded > size else folded, size - 1.0)


def soft_maximum(fields: list[Array]) -> list[Array]:
    """Share of each pixel `[h, w]` in which each of several smooth fields is the largest.

    Shares are 0 or 1 but along the lines where two fields meet, which are antialiased.
    """
    top = largest(fields)
    shares = [np.zeros_like(top) for _ in fields]
    ahead = [i for i, field in enumerate(fields) if (field == top).any()]
    for i in ahead:
        others = [fields[j] for j in ahead if j != i]
        if not others:
            return [*shares[:i], np.ones_like(top), *shares[i + 1 :]]
        gap = fields[i] - largest(others)
        slope = np.hypot(*np.gradient(gap))
        shares[i] = np.clip(gap / np.maximum(slope, 1e-12) + 0.5, 0.0, 1.0)
    total = np.maximum(sum(shares), 1e-12)
    return [share / total for share in shares]


def largest(fields: list[Array]) -> Array:
    """Of several fields, pixel by pixel."""
    return reduce(np.maximum, fields)


def as_picture(light: Array) -> Tensor:
    """`[h, w, 3]` as a picture `[3, h, w]`."""
    return torch.from_numpy(np.ascontiguousarray(light.transpose(2, 0, 1), dtype=np.float32))
