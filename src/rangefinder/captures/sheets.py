"""Sheets to print: textures without a scale, marks that tell the sheet from the wall.

Everything is laid out in units of a 24th of the sheet's height, so that one detector finds every
size; all A sizes have the same shape. Landscape: six black discs stand in a white margin, four in
the corners and two in the middle of the long sides.
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

from rangefinder.captures.canvases import LUMINANCE, Kind, Recipe, make_canvas
from rangefinder.captures.images import srgb_pixels
from rangefinder.captures.shapes import random_shape
from rangefinder.errors import CaptureError

SIZES_MM: Mapping[str, tuple[int, int]] = {  # width, height
    "A4": (297, 210),
    "A3": (420, 297),
    "A2": (594, 420),
    "A1": (841, 594),
}
UNITS = (24 * 2**0.5, 24.0)  # width and height of a sheet
MARGIN, MARK_RADIUS = 2.0, 0.7
MARKS = np.array(  # centres (x, y): corners clockwise from the upper left, then top and bottom
    [
        (1, 1),
        (UNITS[0] - 1, 1),
        (UNITS[0] - 1, 23),
        (1, 23),
        (UNITS[0] / 2, 1),
        (UNITS[0] / 2, 23),
    ]
)
MOST_PIXELS = 40_000_000  # of a sheet; drawing takes forty times as many bytes
_RULER_MM = 100
_WHITE, _DARKEST, _BRIGHTEST = 97, 0.03, 0.92  # percentile that is brightest; reflectance
_AREAS = (2, 6)  # areas of another texture on a sheet
_AREA_RADIUS = (0.06, 0.35)  # of the sheet's height
_INK = (0, 0, 0)
_MM_PER_INCH = 25.4


@dataclass(frozen=True)
class SheetPlan:
    """What to print.

    Attributes:
        size: A key of `SIZES_MM`.
        dpi: Dots per inch.
        seed: Start of all randomness; a sheet's own is this and its number.
    """

    size: str = "A3"
    dpi: int = 200
    seed: int = 0

    @property
    def pixels(self) -> tuple[int, int]:
        """Width and height [px]."""
        width, height = SIZES_MM[self.size]
        return round(width / _MM_PER_INCH * self.dpi), round(height / _MM_PER_INCH * self.dpi)


def draw_sheet(plan: SheetPlan, number: int) -> Image.Image:
    """Draw sheet `number` (from 1).

    Raises:
        CaptureError: If it would have too many pixels.
    """
    width, height = plan.pixels
    if width * height > MOST_PIXELS:
        raise CaptureError(
            "the sheet has too many dots to draw",
            got=f"{width}x{height} at {plan.dpi} dpi",
            expected=f"at most {MOST_PIXELS // 10**6} million",
            todo="Take fewer dots per inch.",
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
        draw.ellipse((x - radius, y - radius, x + radius, y + radius), _INK)
    _write(draw, plan, number, unit)
    return sheet


def _texture(
    plan: SheetPlan, number: int, size: tuple[int, int], generator: np.random.Generator
) -> NDArray[np.uint8]:
    """Dead leaves with areas of 1/f spectra on even sheets, the other way round on odd ones."""
    kinds: tuple[Kind, Kind] = ("leaves", "spectrum")
    ground, other = kinds if number % 2 else kinds[::-1]
    height, width = size
    rgb = _print(_canvas(plan, number, ground, max(size)))[:, :height, :width]
    cover = _print(_canvas(plan, number, other, max(size)))[:, :height, :width]
    for _ in range(int(generator.integers(*_AREAS))):
        radius = float(np.exp(generator.uniform(*np.log(_AREA_RADIUS)))) * height
        shape = random_shape(height, width, radius, generator)
        if shape is not None:
            rows, cols = shape.window
            window = rgb[:, rows, cols]
            window.add_((cover[:, rows, cols] - window) * shape.alpha)
    return srgb_pixels(rgb)


def _canvas(plan: SheetPlan, number: int, kind: Kind, side_px: int) -> Tensor:
    source = f"{kind}:sheet:{number}"
    return make_canvas(Recipe(source, kind, "train", side_px, plan.seed, (17, number))).float()


def _print(canvas: Tensor) -> Tensor:
    """Linear light of any level -> reflectance of ink on paper."""
    luminance = torch.tensordot(LUMINANCE, canvas, dims=1)
    white = np.percentile(luminance[::7, ::7].numpy(), _WHITE)
    return (canvas * (_BRIGHTEST / float(white))).clamp_(_DARKEST, _BRIGHTEST)


def _write(draw: ImageDraw.ImageDraw, plan: SheetPlan, number: int, unit: float) -> None:
    """Size, ruler and seed between the marks of the upper margin."""
    width_mm, height_mm = SIZES_MM[plan.size]
    per_mm = plan.dpi / _MM_PER_INCH
    x, y = 2.2 * unit, 0.75 * unit
    end = x + _RULER_MM * per_mm
    thick = max(1, round(0.3 * per_mm))
    draw.line((x, y, end, y), _INK, thick)
    for place in (x, end):
        draw.line((place, y - 0.3 * unit, place, y + 0.3 * unit), _INK, thick)
    text = (
        f"{plan.size} {width_mm} x {height_mm} mm, print at 100 %: this line is {_RULER_MM} mm"
        f" - sheet {number}, seed {plan.seed}"
    )
    room = (UNITS[0] / 2 - 3.4) * unit
    font = ImageFont.load_default(0.5 * unit)
    length = font.getlength(text)
    if length > room:
        font = ImageFont.load_default(0.5 * unit * room / length)
    draw.text((x, 1.15 * unit), text, _INK, font)


def write_pdf(path: Path, sheet: Image.Image, dpi: int) -> None:
    """Write a sheet as a PDF of its true size."""
    sheet.save(path, "PDF", resolution=dpi, quality=95)
