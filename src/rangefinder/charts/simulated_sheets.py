"""Photos of printed sheets through a simulated lens, to practise calibration on."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from scipy.signal import resample_poly

from rangefinder.camera import Camera
from rangefinder.charts.detection import FoundSheet
from rangefinder.charts.printed_sheets import CELLS, Drawing, SheetView
from rangefinder.charts.sheets import (
    MAX_PIXELS,
    MM_PER_INCH,
    SIZES_MM,
    UNITS,
    SheetPlan,
    draw_sheet,
)
from rangefinder.common.compute import one_thread
from rangefinder.config import Parameters
from rangefinder.optics.blur import pixel_m
from rangefinder.optics.psf_bank import PsfBank
from rangefinder.optics.rendering import Layer, render
from rangefinder.optics.sensor import photograph, sensor_light
from rangefinder.synthesis.scenes import Frame

Float = NDArray[np.float32]
FILLED = 0.94  # largest share of the picture's width or height that a sheet takes
PRINT_PX = 2.0  # pixels of the drawing in one of the photo
TURN_DEG = 2.0  # by which a sheet hangs askew
WALL = 0.4  # reflectance around it
DOT_GAIN = 0.13  # by how much half-covered paper is covered more than was asked for
YULE_NIELSEN = 2.0  # n: light spreads inside the paper
INK, PAPER = 0.03, 0.85  # reflectance
IMPURE = np.array([[0.90, 0.07, 0.03], [0.06, 0.86, 0.08], [0.03, 0.10, 0.87]])  # inks' colours


@dataclass(frozen=True, eq=False)
class PrintedSheet:
    """A sheet, and what it was drawn as."""

    size: str
    picture: Image.Image
    drawing: Drawing

    @property
    def name(self) -> str:
        """Of its file."""
        return f"sheet-{self.size}.png"


@dataclass(frozen=True, eq=False)
class SimulatedSheetPhoto:
    """A photo of a printed sheet."""

    distance_m: float
    sheet: PrintedSheet
    image: torch.Tensor  # `[3, H, W]` linear light 0..1


def printed_light(values: Float) -> Float:
    """Light `[3, ...]` of drawn sRGB values `[3, ...]`, as dot gain and impure inks make it."""
    cover = 1 - values
    cover = cover + 4 * DOT_GAIN * cover * (1 - cover)
    root = (1 - cover) * PAPER ** (1 / YULE_NIELSEN) + cover * INK ** (1 / YULE_NIELSEN)
    return np.tensordot(IMPURE, root**YULE_NIELSEN, axes=1).astype(np.float32)


def largest_sheet(camera: Camera, distance_m: float) -> str | None:
    """The largest size that fits into the picture at a distance [m]."""
    side_mm = 1000 * float(pixel_m(camera, distance_m)) * FILLED
    room = camera.width_px * side_mm, camera.height_px * side_mm
    fitting = [name for name, (w, h) in SIZES_MM.items() if w <= room[0] and h <= room[1]]
    return fitting[-1] if fitting else None


def simulate_sheets(
    params: Parameters,
    camera: Camera,
    bank: PsfBank,
    distances_m: NDArray[np.float64],
    generator: np.random.Generator,
) -> Iterator[SimulatedSheetPhoto]:
    """Photograph sheets at distances `[N]` [m], each the largest that fits, anywhere it does.

    Distances at which the smallest does not fit are left out.

    Args:
        params: Noise, and the seed of the sheets.
        camera: The camera record.
        bank: Of its lens.
        distances_m: From `camera.distance_reference` [m].
        generator: Source of randomness.
    """
    frame = Frame(camera.height_px, camera.width_px, bank.radius_px)
    sheets: dict[str, PrintedSheet] = {}
    for distance in distances_m.tolist():
        size = largest_sheet(camera, distance)
        if size is None:
            continue
        side_mm = 1000 * float(pixel_m(camera, distance))
        if size not in sheets:
            sheets[size] = _drawn(size, side_mm, params.seed, len(sheets) + 1)
        with one_thread():
            layer = _layer(sheets[size], camera, frame, distance, generator)
            light = sensor_light(layer, camera.encoding)
            blurred = render(bank, (Layer(light, None, distance),))
            photo = photograph(blurred, params.noise, camera.encoding, generator)[0]
        yield SimulatedSheetPhoto(distance, sheets[size], photo)


def _drawn(size: str, side_mm: float, seed: int, number: int) -> PrintedSheet:
    width_mm, height_mm = SIZES_MM[size]
    most = MM_PER_INCH * (MAX_PIXELS / (width_mm * height_mm)) ** 0.5
    dpi = int(min(MM_PER_INCH * PRINT_PX / side_mm, 0.99 * most))
    picture = draw_sheet(SheetPlan(size, dpi, seed), number)
    values = np.ascontiguousarray(np.asarray(picture).transpose(2, 0, 1))
    return PrintedSheet(size, picture, Drawing(values))


def _layer(
    sheet: PrintedSheet,
    camera: Camera,
    frame: Frame,
    distance_m: float,
    generator: np.random.Generator,
) -> torch.Tensor:
    """Light `[3, H + 2r, W + 2r]` of a sheet on a wall, band-limited to the pixels."""
    side_mm = 1000 * float(pixel_m(camera, distance_m))
    height, width = frame.padded_size
    px_per_unit = SIZES_MM[sheet.size][1] / UNITS[1] / side_mm
    room = np.array([frame.width_px, frame.height_px]) - px_per_unit * np.array(UNITS)
    middle = np.array([width, height]) / 2 + generator.uniform(-0.45, 0.45, 2) * room
    turn = np.deg2rad(generator.uniform(-TURN_DEG, TURN_DEG))
    rotation = np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
    homography = np.eye(3)
    homography[:2, :2] = px_per_unit * rotation
    homography[:2, 2] = middle - homography[:2, :2] @ np.array(UNITS) / 2
    fine = np.diag([CELLS, CELLS, 1.0]) @ homography
    found = FoundSheet(fine, (CELLS * height, CELLS * width))
    view = SheetView(sheet.drawing, found, gaussian_px=0.0)
    cells = np.where(view.outside(0.0), np.float32(WALL), view.sampled(printed_light))
    for axis in (1, 2):
        cells = resample_poly(cells, 1, CELLS, axis=axis, padtype="edge")
    return torch.from_numpy(np.ascontiguousarray(cells.clip(0.0, 1.0), dtype=np.float32))
