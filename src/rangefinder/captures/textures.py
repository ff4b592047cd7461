"""Textures: random pieces of canvases, whose look is independent of the distance they are shown at.

A piece is mirrored, turned, reduced, coloured and given a contrast of its own. It is never
enlarged, so that it stays sharp to the pixel and only the lens blurs it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from rangefinder.captures.canvases import LUMINANCE
from rangefinder.captures.images import resize_sharp
from rangefinder.config import CaptureParams

LEAVES_SHARE = 0.65  # of procedural textures; the rest are spectra
LARGEST_REDUCTION = 3.2
LEAST_REDUCTION = 1.25  # below it the canvas is shown as it is: resampling would soften it
MOST_REPEATS = 3  # of a mirrored canvas along a surface
BLANK_SHARE = 0.2  # of weak textures
WEAK_CONTRAST = (0.01, 0.1)
CONTRAST = (0.5, 1.2)
ALBEDO = (0.08, 0.6)
DARKEST = 0.004
DARK_SHARE = 0.01
SHADING = 0.3  # largest relative change of light over half a surface


@dataclass(frozen=True)
class Texture:
    """A surface's look: linear light `[3, h, w]` in 0..1, and where it comes from."""

    rgb: Tensor
    source: str


class Painter:
    """Paints random surfaces of one split.

    Args:
        canvases: (source, canvas) of that split; see `make_canvas`.
        params: Shares of photographs and of weak textures.
    """

    def __init__(self, canvases: list[tuple[str, Tensor]], params: CaptureParams) -> None:
        self._params = params
        self._by_kind: dict[str, dict[str, list[Tensor]]] = {}
        for source, canvas in canvases:
            kind = source.split(":", maxsplit=1)[0]
            self._by_kind.setdefault(kind, {}).setdefault(source, []).append(canvas)

    def paint(self, height: int, width: int, generator: np.random.Generator) -> Texture:
        """A random surface of `height` x `width` px."""
        source, canvas = self._choose(generator)
        reduction = math.exp(generator.uniform(0, math.log(LARGEST_REDUCTION)))
        reduction = min(reduction, MOST_REPEATS * min(canvas.shape[-2:]) / max(height, width))
        reduction = 1.0 if reduction < LEAST_REDUCTION else reduction
        turned = bool(generator.integers(2))
        size = (width, height) if turned else (height, width)
        piece = _piece(canvas, [round(reduction * side) for side in size], generator)
        rgb = resize_sharp(piece.float(), *size)
        return Texture(self._grade(rgb.transpose(1, 2) if turned else rgb, generator), source)

    def _choose(self, generator: np.random.Generator) -> tuple[str, Tensor]:
        kind = "leaves" if generator.random() < LEAVES_SHARE else "spectrum"
        if generator.random() < self._params.photograph_share:
            kind = "photo"
        sources = self._by_kind[kind]
        source = list(sources)[generator.integers(len(sources))]
        variants = sources[source]
        return source, variants[generator.integers(len(variants))]

    def _grade(self, rgb: Tensor, generator: np.random.Generator) -> Tensor:
        """Give a texture its own colour, contrast, brightness and shading; changes no sharpness."""
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
    """Slow change of light over a surface, `[height, width]` around 1."""
    slope_x, slope_y = generator.uniform(-SHADING, SHADING, 2)
    return (
        1
        + torch.linspace(-1, 1, width) * float(slope_x)
        + torch.linspace(-1, 1, height)[:, None] * float(slope_y)
    )


def _piece(canvas: Tensor, size: list[int], generator: np.random.Generator) -> Tensor:
    """A random piece `[3, *size]`, mirrored at random and again wherever the canvas ends."""
    for axis, length in enumerate(size, start=1):
        room = canvas.shape[axis]
        start = int(generator.integers(max(1, room - length + 1)))
        if length <= room:
            canvas = canvas.narrow(axis, start, length)
        else:
            fold = (torch.arange(length) + int(generator.integers(2 * room))) % (2 * room)
            canvas = canvas.index_select(axis, torch.minimum(fold, 2 * room - 1 - fold))
        if generator.integers(2):
            canvas = canvas.flip(axis)
    return canvas


def texture_energy(sharp: Tensor, window_px: int) -> Tensor:
    """How strongly a sharp picture is textured around each pixel.

    Squared gradient of the logarithm of luminance, averaged over a window. One per cent of the
    brightest value is added first: weaker light is lost in noise.

    Args:
        sharp: `[3, H, W]` linear light.
        window_px: Side of the averaging window; even ones grow by one.

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
