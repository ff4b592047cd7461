"""Sheets to print: textures without a scale, and fiducial discs that locate the sheet.

Lengths are in units of a 24th of the sheet's height, so that one detector finds every size; all A
sizes have the same aspect. Landscape, with six black discs in a white margin: four in the corners
and two in the middle of the long sides.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from rangefinder.errors import CaptureError
from rangefinder.optics.srgb import srgb_pixels
from rangefinder.synthesis.shapes import random_shape
from rangefinder.synthesis.textures import LUMINANCE, Kind, TextureSpec, make_texture

SIZES_MM: Mapping[str, tuple[int, int]] = {  # width, height
    "A6": (148, 105),
    "A5": (210, 148),
    "A4": (297, 210),
    "A3": (420, 297),
    "A2": (594, 420),
    "A1": (841, 594),
}
UNITS = (24 * 2**0.5, 24.0)  # width and height of a sheet
MARGIN, MARK_RADIUS = 2.0, 0.7
RIGHT, MIDDLE = UNITS[0] - 1, UNITS[0] / 2
MARKS = np.array(  # centres (x, y): corners clockwise from the upper left, then top and bottom
    [(1, 1), (RIGHT, 1), (RIGHT, 23), (1, 23), (MIDDLE, 1), (MIDDLE, 23)]
)
MAX_PIXELS = 40_000_000  # of a sheet; drawing takes forty times as many bytes
RULERS_MM = 100, 50  # the longest that fits before the middle disc
WHITE_PERCENTILE = 97  # of luminance, becomes the highest reflectance
REFLECTANCE = (0.03, 0.92)  # of ink and paper
TEXTURE_KEY = 17  # seed key of sheets
AREAS = (2, 6)  # areas of another texture on a sheet
AREA_RADIUS = (0.06, 0.35)  # of the sheet's height
INK = (0, 0, 0)
MM_PER_INCH = 25.4


@dataclass(frozen=True)
class SheetPlan:
    """Sheets to draw."""

    size: str = "A3"  # A key of `SIZES_MM`
    dpi: int = 200  # dots per inch
    seed: int = 0  # together with a sheet's number, seed of its randomness

    @property
    def pixels(self) -> tuple[int, int]:
        """Width and height [px]."""
        width, height = (round(side / MM_PER_INCH * self.dpi) for side in SIZES_MM[self.size])
        return width, height


def draw_sheet(plan: SheetPlan, number: int) -> Image.Image:
    """Draw sheet `number` (from 1).

    Raises:
        CaptureError: If it has too many pixels.
    """
    width, height = plan.pixels
    if width * height > MAX_PIXELS:
        raise CaptureError(
            "the sheet has too many dots to draw",
            got=f"{width}x{height} at {plan.dpi} dpi",
            expected=f"at most {MAX_PIXELS // 10**6} million",
            todo="Take fewer dots per inch, or a smaller sheet.",
        )
    generator = np.random.default_rng(np.random.SeedSequence([plan.seed, number]))
    unit = height / UNITS[1]
    margin = round(MARGIN * unit)
    sheet = Image.new("RGB", (width, height), (255, 255, 255))
    texture = _texture(plan, number, (height - 2 * margin, width - 2 * margin), generator)
    sheet.paste(Image.fromarray(texture), (margin, margin))
    draw = ImageDraw.Draw(sheet)
    for x, y in MARKS * (width / UNITS[0], unit):
        radius = MARK_RADIUS * unit
        draw.ellipse((x - radius, y - radius, x + radius, y + radius), INK)
    _draw_margin(draw, plan, number, unit)
    return sheet


def _texture(
    plan: SheetPlan, number: int, size: tuple[int, int], generator: np.random.Generator
) -> NDArray[np.uint8]:
    """Dead leaves with areas of 1/f spectra on odd sheets, the other way round on even ones."""
    kinds: tuple[Kind, Kind] = ("leaves", "spectrum")
    ground, other = kinds if number % 2 else kinds[::-1]
    height, width = size
    rgb, cover = (
        _reflectance(plan, number, kind, max(size))[:, :height, :width] for kind in (ground, other)
    )
    for _ in range(int(generator.integers(*AREAS))):
        radius = float(np.exp(generator.uniform(*np.log(AREA_RADIUS)))) * height
        shape = random_shape(height, width, radius, generator)
        if shape is not None:
            window = rgb[:, *shape.window]
            window.add_((cover[:, *shape.window] - window) * shape.alpha)
    return srgb_pixels(rgb)


def _reflectance(plan: SheetPlan, number: int, kind: Kind, side_px: int) -> Tensor:
    """A texture `[3, side_px, side_px]` as reflectance of ink on paper."""
    source = f"{kind}:sheet:{number}"
    spec = TextureSpec(source, kind, "train", side_px, plan.seed, (TEXTURE_KEY, number))
    texture = make_texture(spec).float()
    luminance = torch.tensordot(LUMINANCE, texture, dims=1)
    white = float(np.percentile(luminance[::7, ::7].numpy(), WHITE_PERCENTILE))
    return (texture * (REFLECTANCE[1] / white)).clamp_(*REFLECTANCE)


def _draw_margin(draw: ImageDraw.ImageDraw, plan: SheetPlan, number: int, unit: float) -> None:
    """Draw size, ruler and seed between the discs of the upper margin."""
    width_mm, height_mm = SIZES_MM[plan.size]
    per_mm = plan.dpi / MM_PER_INCH
    x, y = 2.2 * unit, 0.75 * unit
    room = MIDDLE * unit - MARK_RADIUS * unit - x
    ruler_mm = next((ruler for ruler in RULERS_MM if ruler * per_mm < room), RULERS_MM[-1])
    end = x + ruler_mm * per_mm
    thick = max(1, round(0.3 * per_mm))
    draw.line((x, y, end, y), INK, thick)
    for place in (x, end):
        draw.line((place, y - 0.3 * unit, place, y + 0.3 * unit), INK, thick)
    text = (
        f"{plan.size} {width_mm} x {height_mm} mm, print at 100 %: this line is {ruler_mm} mm"
        f" - sheet {number}, seed {plan.seed}"
    )
    room = (MIDDLE - 3.4) * unit
    font = ImageFont.load_default(0.5 * unit)
    length = font.getlength(text)
    if length > room:
        font = ImageFont.load_default(0.5 * unit * room / length)
    draw.text((x, 1.15 * unit), text, INK, font)


def write_pdf(path: Path, sheet: Image.Image, dpi: int) -> None:
    """Write a sheet as a PDF of its true size."""
    sheet.save(path, "PDF", resolution=dpi, quality=95)
