"""Canvases: large linear-light pictures, sharp to the pixel, that textures are cut from.

Bundled photographs, dead leaves and 1/f spectra, split by source between train, validation and
test. None has a scale of its own that could tell a distance.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageDraw
from torch import Tensor
from torch.nn import functional

from rangefinder.captures.images import resize_sharp, srgb_to_linear
from rangefinder.captures.splits import SPLITS, Split
from rangefinder.errors import CaptureError

Kind = Literal["photo", "leaves", "spectrum"]

# Photographs inside scikit-image's wheel (nothing is fetched), by split, each with the largest
# magnification at which its own spectrum still reaches the pixel (high-band energy measured against
# the 1/f law). Left out: `cell` and `clock` (blurred at any useful size), the Motorcycle pair (a
# test scene). Each split has things, a grainy surface and a smooth one.
PHOTOGRAPHS: Mapping[Split, Mapping[str, float]] = {
    "train": {
        "astronaut": 0.8,
        "brick": 0.36,
        "chelsea": 0.7,
        "coffee": 0.6,
        "hubble_deep_field": 0.6,
        "immunohistochemistry": 0.5,
        "page": 0.7,
    },
    "validation": {"gravel": 0.5, "moon": 0.6, "rocket": 0.7, "text": 0.45},
    "test": {"camera": 0.6, "coins": 0.8, "grass": 0.7, "retina": 0.35},
}
PHOTO_TURNS = 4  # canvases per photograph, each at an angle of its own
CANVASES: Mapping[Split, tuple[int, int]] = {  # most dead leaves, most spectra
    "train": (32, 32),
    "validation": (4, 2),
    "test": (4, 3),
}
SURFACES_PER_CANVAS = 40
LUMINANCE = torch.tensor([0.2126, 0.7152, 0.0722])


@dataclass(frozen=True)
class Recipe:
    """What makes one canvas: `source` is what the split guard looks at."""

    source: str
    kind: Kind
    split: Split
    side_px: int
    seed: int
    key: tuple[int, ...]


def recipes(seed: int, side_px: int, surfaces: Mapping[Split, int]) -> Iterator[Recipe]:
    """Every canvas that the splits need.

    Args:
        seed: Seed of the run.
        side_px: Side of procedural canvases.
        surfaces: Expected number of textured surfaces per split; few surfaces need few canvases.
    """
    for code, split in enumerate(SPLITS):
        needed = math.ceil(surfaces.get(split, 0) / SURFACES_PER_CANVAS)
        if not needed:
            continue
        for number, name in enumerate(PHOTOGRAPHS[split]):
            for turn in range(min(PHOTO_TURNS, needed)):
                key = (code, 0, number, turn)
                yield Recipe(f"photo:{name}", "photo", split, side_px, seed, key)
        kinds: tuple[tuple[Kind, int], ...] = (
            ("leaves", CANVASES[split][0]),
            ("spectrum", CANVASES[split][1]),
        )
        for position, (kind, most) in enumerate(kinds, start=1):
            for number in range(min(most, needed)):
                source = f"{kind}:{split}:{number}"
                yield Recipe(source, kind, split, side_px, seed, (code, position, number))


def make_canvas(recipe: Recipe) -> Tensor:
    """Draw one canvas: `[3, h, w]` half precision, linear light > 0, mean luminance 1.

    Raises:
        CaptureError: If scikit-image lacks the photograph.
    """
    seeds = np.random.SeedSequence(recipe.seed, spawn_key=(0, *recipe.key))
    generator = np.random.default_rng(seeds)
    if recipe.kind == "photo":
        canvas = _turned_photograph(recipe, generator)
    elif recipe.kind == "leaves":
        canvas = _dead_leaves(recipe.side_px, generator)
    else:
        canvas = _spectrum(recipe.side_px, generator)
    mean = torch.tensordot(LUMINANCE, canvas, dims=1).mean()
    even: Tensor = canvas / mean
    return even.clamp_(1e-3, 60.0).half()


def _turned_photograph(recipe: Recipe, generator: np.random.Generator) -> Tensor:
    """A photograph turned by any angle, mirrored beyond its edges, reduced until it is sharp."""
    name = recipe.source.removeprefix("photo:")
    picture = load_photograph(name)
    height, width = picture.shape[-2:]
    side = max(height, width)
    angle = generator.uniform(0, 2 * math.pi)
    step = (torch.arange(side) + 0.5 - side / 2).float()
    y, x = torch.meshgrid(step, step, indexing="ij")
    cos, sin = math.cos(angle), math.sin(angle)
    grid = torch.stack([(x * cos - y * sin) / (width / 2), (x * sin + y * cos) / (height / 2)], -1)
    turned = functional.grid_sample(
        picture[None], grid[None], mode="bicubic", padding_mode="reflection", align_corners=False
    )[0]
    reduced = max(8, round(side * PHOTOGRAPHS[recipe.split][name]))
    return resize_sharp(turned, reduced, reduced)


def load_photograph(name: str) -> Tensor:
    """A photograph of scikit-image's wheel in linear light, `[3, h, w]`.

    Raises:
        CaptureError: If scikit-image lacks it.
    """
    import skimage.data

    try:
        pixels = np.asarray(getattr(skimage.data, name)())
    except (AttributeError, OSError, ModuleNotFoundError, ValueError) as exc:
        raise CaptureError(
            f"scikit-image does not carry the photograph {name!r} ({exc})",
            todo="Install the scikit-image version of the lock file.",
        ) from exc
    if pixels.ndim == 2:
        pixels = np.repeat(pixels[..., None], 3, axis=-1)
    return torch.from_numpy(srgb_to_linear(pixels[..., :3] / 255).transpose(2, 0, 1).copy())


def _dead_leaves(side_px: int, generator: np.random.Generator) -> Tensor:
    """Opaque shapes dropped on each other, radii by the scale-invariant law p(r) ~ r^-3.

    Lee, Mumford and Huang (2001), Occlusion models for natural images. Drawn hard-edged at twice
    the size and averaged 2x2, in linear light.
    """
    side = 2 * side_px
    smallest, largest = 2.5, side / 5
    mean_area = math.pi * 2 * smallest**2 * math.log(largest / smallest)
    count = int(3.5 * side**2 / mean_area)  # e^-3.5 = 3 % of the ground shows
    u = generator.random(count)
    radius = smallest / np.sqrt(1 - u * (1 - (smallest / largest) ** 2))
    centre = generator.random((count, 2)) * side
    colour = _palette(count, generator)
    corners = int(generator.choice([0, 0, 3, 4, 5]))  # 0: discs
    picture = Image.new("RGB", (side, side), (90, 90, 90))
    draw = ImageDraw.Draw(picture)
    if corners:
        _drop_polygons(draw, centre, radius, colour, corners, generator)
    else:
        boxes = np.concatenate([centre - radius[:, None], centre + radius[:, None]], axis=1)
        for box, fill in zip(boxes.tolist(), map(tuple, colour.tolist()), strict=True):
            draw.ellipse(box, fill=fill)
    encoded = torch.from_numpy(np.asarray(picture).transpose(2, 0, 1).copy())
    return functional.avg_pool2d((encoded.float() / 255).square_(), 2)


def _drop_polygons(
    draw: ImageDraw.ImageDraw,
    centre: NDArray[np.float64],
    radius: NDArray[np.float64],
    colour: NDArray[np.uint8],
    corners: int,
    generator: np.random.Generator,
) -> None:
    """Irregular polygons of `corners` corners around `centre` [n, 2], `radius` [n]."""
    count = len(radius)
    angle = np.arange(corners) / corners + generator.random((count, 1))
    angle = 2 * np.pi * (angle + generator.uniform(-0.3, 0.3, (count, corners)) / corners)
    points = np.stack([np.cos(angle), np.sin(angle)], axis=-1) * radius[:, None, None]
    points += centre[:, None]
    flat = points.reshape(count, -1).tolist()
    for polygon, fill in zip(flat, map(tuple, colour.tolist()), strict=True):
        draw.polygon(polygon, fill=fill)


def _palette(count: int, generator: np.random.Generator) -> NDArray[np.uint8]:
    """Random colours `[count, 3]`, square-root encoded: spread in lightness, less in hue."""
    lightness = generator.normal(-1.6, generator.uniform(0.5, 1.0), (count, 1))
    hue = generator.normal(0, generator.uniform(0.05, 0.4), (count, 3))
    linear = np.exp(lightness + hue + generator.normal(0, 0.2, 3))
    encoded: NDArray[np.uint8] = (255 * np.sqrt(np.clip(linear, 0, 1))).astype(np.uint8)
    return encoded


def _spectrum(side_px: int, generator: np.random.Generator) -> Tensor:
    """Log light with power ~ 1/f^alpha, alpha about 2 as in photographs; colours correlated.

    Field (1987), Relations between the statistics of natural images and the response properties
    of cortical cells.
    """
    alpha = generator.uniform(1.6, 2.6)
    frequency = np.hypot(
        np.fft.fftfreq(side_px)[:, None] * side_px, np.fft.rfftfreq(side_px)[None] * side_px
    )
    frequency[0, 0] = np.inf
    amplitude = torch.from_numpy(frequency ** (-alpha / 2)).float()
    noise = torch.from_numpy(generator.standard_normal((3, side_px, side_px), dtype=np.float32))
    field = torch.fft.irfft2(torch.fft.rfft2(noise) * amplitude, s=(side_px, side_px))
    field /= field.std(dim=(1, 2), keepdim=True)
    share = generator.uniform(0.05, 0.5)
    mixed: Tensor = field[:1] * math.sqrt(1 - share) + field * math.sqrt(share)
    return (mixed * generator.uniform(0.4, 0.9)).exp_()
