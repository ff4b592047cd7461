"""The texture bank, and the sampler that draws surface textures from it.

Sources are bundled photographs, dead leaves and 1/f spectra, split between train, validation and
test. None has a scale of its own that could correlate with distance. A sample is mirrored, rotated,
reduced, tinted and given a contrast; it is never enlarged, so it stays sharp to the pixel.
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

from rangefinder.captures.images import linear_light, resize_sharp
from rangefinder.captures.splits import SPLITS, Split
from rangefinder.config import CaptureParams
from rangefinder.errors import CaptureError

Kind = Literal["photo", "leaves", "spectrum"]

# Photographs inside scikit-image's wheel (nothing is fetched), by split, each with the largest
# magnification at which its own spectrum still reaches the pixel (high-band energy measured against
# the 1/f law). Left out: `cell` and `clock` (blurred at any useful size), the Motorcycle pair (a
# test scene). Each split has objects, a grainy surface and a smooth one.
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
PHOTO_TURNS = 4  # textures per photograph, each at an angle of its own
TEXTURE_COUNTS: Mapping[Split, tuple[int, int]] = {  # at most: dead leaves, 1/f spectra
    "train": (32, 32),
    "validation": (4, 2),
    "test": (4, 3),
}
SURFACES_PER_TEXTURE = 40
LUMINANCE = torch.tensor([0.2126, 0.7152, 0.0722])
LEAVES_SHARE = 0.65  # of procedural textures; the rest are spectra
MAX_REDUCTION = 3.2
MIN_REDUCTION = 1.25  # below it a texture is not resampled, which would soften it
MAX_REPEATS = 3  # of a mirrored texture along a surface
BLANK_SHARE = 0.2  # of weak textures
WEAK_CONTRAST = (0.01, 0.1)
CONTRAST = (0.5, 1.2)
ALBEDO = (0.08, 0.6)
DARKEST = 0.004
DARK_SHARE = 0.01  # of the brightest light, added before the logarithm in `texture_energy`
SHADING = 0.3  # largest relative change of light over half a surface


@dataclass(frozen=True)
class TextureSpec:
    """How one texture of the bank is made; `source` is in one split only."""

    source: str
    kind: Kind
    split: Split
    side_px: int
    seed: int
    key: tuple[int, ...]


def texture_specs(seed: int, side_px: int, surfaces: Mapping[Split, int]) -> Iterator[TextureSpec]:
    """Every texture that the splits need.

    Args:
        seed: Seed of the run.
        side_px: Side of procedural textures.
        surfaces: Expected number of textured surfaces per split; few surfaces need few textures.
    """
    for code, split in enumerate(SPLITS):
        needed = math.ceil(surfaces.get(split, 0) / SURFACES_PER_TEXTURE)
        if not needed:
            continue
        for number, name in enumerate(PHOTOGRAPHS[split]):
            for turn in range(min(PHOTO_TURNS, needed)):
                key = (code, 0, number, turn)
                yield TextureSpec(f"photo:{name}", "photo", split, side_px, seed, key)
        procedural: tuple[Kind, Kind] = ("leaves", "spectrum")
        for position, kind in enumerate(procedural, start=1):
            for number in range(min(TEXTURE_COUNTS[split][position - 1], needed)):
                source = f"{kind}:{split}:{number}"
                yield TextureSpec(source, kind, split, side_px, seed, (code, position, number))


def make_texture(spec: TextureSpec) -> Tensor:
    """Draw one texture: `[3, h, w]` half precision, linear light > 0, mean luminance 1.

    Raises:
        CaptureError: If scikit-image lacks the photograph.
    """
    seeds = np.random.SeedSequence(spec.seed, spawn_key=(0, *spec.key))
    generator = np.random.default_rng(seeds)
    if spec.kind == "photo":
        texture = _rotated_photograph(spec, generator)
    elif spec.kind == "leaves":
        texture = _dead_leaves(spec.side_px, generator)
    else:
        texture = _spectrum(spec.side_px, generator)
    mean = torch.tensordot(LUMINANCE, texture, dims=1).mean()
    normalised: Tensor = texture / mean
    return normalised.clamp_(1e-3, 60.0).half()


def _rotated_photograph(spec: TextureSpec, generator: np.random.Generator) -> Tensor:
    """A photograph rotated by any angle, mirrored beyond its edges, reduced until it is sharp."""
    name = spec.source.removeprefix("photo:")
    picture = load_photograph(name)
    height, width = picture.shape[-2:]
    side = max(height, width)
    angle = generator.uniform(0, 2 * math.pi)
    step = (torch.arange(side) + 0.5 - side / 2).float()
    y, x = torch.meshgrid(step, step, indexing="ij")
    cos, sin = math.cos(angle), math.sin(angle)
    grid = torch.stack([(x * cos - y * sin) / (width / 2), (x * sin + y * cos) / (height / 2)], -1)
    rotated = functional.grid_sample(
        picture[None], grid[None], mode="bicubic", padding_mode="reflection", align_corners=False
    )[0]
    reduced = max(8, round(side * PHOTOGRAPHS[spec.split][name]))
    return resize_sharp(rotated, reduced, reduced)


def load_photograph(name: str) -> Tensor:
    """A photograph of scikit-image's data in linear light, `[3, h, w]`.

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
    return linear_light(name, pixels)


def _dead_leaves(side_px: int, generator: np.random.Generator) -> Tensor:
    """Dead leaves: opaque shapes that occlude each other, radii by the scale-free law p(r) ~ r^-3.

    Lee, Mumford and Huang, Occlusion models for natural images, 2001. Drawn hard-edged at twice
    the size and averaged 2x2, in linear light.
    """
    side = 2 * side_px
    smallest, largest = 2.5, side / 5
    mean_area = math.pi * 2 * smallest**2 * math.log(largest / smallest)
    count = int(3.5 * side**2 / mean_area)  # e^-3.5 = 3 % of the background stays visible
    u = generator.random(count)
    radius = smallest / np.sqrt(1 - u * (1 - (smallest / largest) ** 2))
    centre = generator.random((count, 2)) * side
    colour = _palette(count, generator)
    corners = int(generator.choice([0, 0, 3, 4, 5]))  # 0: discs
    picture = Image.new("RGB", (side, side), (90, 90, 90))
    draw = ImageDraw.Draw(picture)
    if corners:
        outlines = centre[:, None] + _polygons(radius, corners, generator)
    else:
        outlines = np.stack([centre - radius[:, None], centre + radius[:, None]], axis=1)
    drop = draw.polygon if corners else draw.ellipse
    for outline, fill in zip(outlines.reshape(count, -1).tolist(), colour.tolist(), strict=True):
        drop(outline, fill=tuple(fill))
    encoded = torch.from_numpy(np.asarray(picture).transpose(2, 0, 1).copy())
    return functional.avg_pool2d((encoded.float() / 255).square_(), 2)


def _polygons(
    radius: NDArray[np.float64], corners: int, generator: np.random.Generator
) -> NDArray[np.float64]:
    """Irregular polygons `[n, corners, 2]` around (0, 0) with circumradii `[n]`."""
    count = len(radius)
    angle = np.arange(corners) / corners + generator.random((count, 1))
    angle = 2 * np.pi * (angle + generator.uniform(-0.3, 0.3, (count, corners)) / corners)
    return np.stack([np.cos(angle), np.sin(angle)], axis=-1) * radius[:, None, None]


def _palette(count: int, generator: np.random.Generator) -> NDArray[np.uint8]:
    """Random colours `[count, 3]`, square-root encoded: spread in lightness, less in hue."""
    lightness = generator.normal(-1.6, generator.uniform(0.5, 1.0), (count, 1))
    hue = generator.normal(0, generator.uniform(0.05, 0.4), (count, 3))
    linear = np.exp(lightness + hue + generator.normal(0, 0.2, 3))
    return np.asarray(255 * np.sqrt(np.clip(linear, 0, 1))).astype(np.uint8)


def _spectrum(side_px: int, generator: np.random.Generator) -> Tensor:
    """Log light with a 1/f^alpha power spectrum, alpha about 2; colours correlated.

    Field, Relations between the statistics of natural images and the response properties of
    cortical cells, 1987.
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


@dataclass(frozen=True)
class SurfaceTexture:
    """Texture of one surface: linear light `[3, h, w]` in 0..1, and its source."""

    rgb: Tensor
    source: str


class TextureSampler:
    """Samples textures of random surfaces of one split.

    Args:
        bank: (source, texture) of that split; see `make_texture`.
        params: Shares of photographs and of weak textures.
    """

    def __init__(self, bank: list[tuple[str, Tensor]], params: CaptureParams) -> None:
        self._params = params
        self._by_kind: dict[str, dict[str, list[Tensor]]] = {}
        for source, texture in bank:
            kind = source.split(":", maxsplit=1)[0]
            self._by_kind.setdefault(kind, {}).setdefault(source, []).append(texture)

    def sample(self, height: int, width: int, generator: np.random.Generator) -> SurfaceTexture:
        """The texture of a random surface of `height` x `width` px."""
        source, texture = self._choose(generator)
        reduction = math.exp(generator.uniform(0, math.log(MAX_REDUCTION)))
        reduction = min(reduction, MAX_REPEATS * min(texture.shape[-2:]) / max(height, width))
        reduction = 1.0 if reduction < MIN_REDUCTION else reduction
        transposed = bool(generator.integers(2))
        size = (width, height) if transposed else (height, width)
        crop = _random_crop(texture, [round(reduction * side) for side in size], generator)
        rgb = resize_sharp(crop.float(), *size)
        rgb = self._grade(rgb.transpose(1, 2) if transposed else rgb, generator)
        return SurfaceTexture(rgb, source)

    def _choose(self, generator: np.random.Generator) -> tuple[str, Tensor]:
        kind = "leaves" if generator.random() < LEAVES_SHARE else "spectrum"
        if generator.random() < self._params.photograph_share:
            kind = "photo"
        sources = self._by_kind[kind]
        source = list(sources)[generator.integers(len(sources))]
        variants = sources[source]
        return source, variants[generator.integers(len(variants))]

    def _grade(self, rgb: Tensor, generator: np.random.Generator) -> Tensor:
        """Random colour, contrast, brightness and shading; sharpness is unchanged."""
        saturation = generator.uniform(0.2, 1.2)
        tint = np.exp(generator.normal(0, 0.15, 3))
        mix = saturation * torch.eye(3) + (1 - saturation) * LUMINANCE.expand(3, 3)
        mix *= torch.from_numpy(tint).float()[:, None]
        contrast = generator.uniform(*CONTRAST)
        if generator.random() < self._params.weak_texture_share:
            blank = generator.random() < BLANK_SHARE
            contrast = 0.0 if blank else math.exp(generator.uniform(*np.log(WEAK_CONTRAST)))
        albedo = math.exp(generator.uniform(*np.log(ALBEDO)))
        flat = torch.tensordot(mix, rgb, dims=1)
        mean = flat.mean(dim=(1, 2), keepdim=True)
        brightness = albedo / max(float(mean.mean()), 1e-3)
        graded: Tensor = (flat - mean).mul_(contrast * brightness).add_(mean * brightness)
        return graded.mul_(_shading(rgb.shape[1], rgb.shape[2], generator)).clamp_(DARKEST, 1.0)


def _shading(height: int, width: int, generator: np.random.Generator) -> Tensor:
    """Linear shading of a surface, `[height, width]` around 1."""
    slope_x, slope_y = generator.uniform(-SHADING, SHADING, 2)
    along_x = 1 + torch.linspace(-1, 1, width) * float(slope_x)
    return along_x + torch.linspace(-1, 1, height)[:, None] * float(slope_y)


def _random_crop(texture: Tensor, size: list[int], generator: np.random.Generator) -> Tensor:
    """A random crop `[3, *size]`, mirrored at random and again wherever the texture ends."""
    for axis, length in enumerate(size, start=1):
        room = texture.shape[axis]
        start = int(generator.integers(max(1, room - length + 1)))
        if length <= room:
            texture = texture.narrow(axis, start, length)
        else:
            fold = (torch.arange(length) + int(generator.integers(2 * room))) % (2 * room)
            texture = texture.index_select(axis, torch.minimum(fold, 2 * room - 1 - fold))
        if generator.integers(2):
            texture = texture.flip(axis)
    return texture


def texture_energy(sharp: Tensor, window_px: int) -> Tensor:
    """Gradient energy of a sharp picture: squared gradient of log luminance, window mean.

    One per cent of the brightest value is added first: weaker light is lost in noise.

    Args:
        sharp: `[3, H, W]` linear light.
        window_px: Side of the averaging window, odd; an even one is enlarged by a pixel.

    Returns:
        `[H, W]` float32 [1/px^2].
    """
    luminance = torch.tensordot(LUMINANCE, sharp, dims=1)
    log = torch.log(luminance / luminance.max().clamp(min=1e-6) + DARK_SHARE)[None, None]
    padded = functional.pad(log, (1, 1, 1, 1), mode="replicate")
    across = (padded[..., 1:-1, 2:] - padded[..., 1:-1, :-2]) / 2
    down = (padded[..., 2:, 1:-1] - padded[..., :-2, 1:-1]) / 2
    energy = across.square() + down.square()
    half = window_px // 2
    for kernel, pad in (((1, 2 * half + 1), (0, half)), ((2 * half + 1, 1), (half, 0))):
        energy = functional.avg_pool2d(energy, kernel, 1, pad, count_include_pad=False)
    return energy[0, 0]
