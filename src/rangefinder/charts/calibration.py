"""Calibration of a lens from a table of photos: read, register, fit, estimate the rest.

A sharp reference of each is a second photo, stopped down, or the drawing of a printed sheet.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import cache
from typing import cast

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from PIL.ExifTags import Base
from torch import Tensor
from tqdm import tqdm

from rangefinder.camera import Camera
from rangefinder.captures.decoding import Decoded, decode
from rangefinder.captures.importer import Importer
from rangefinder.captures.tables import Problem, Row, Table, inside, refuse
from rangefinder.charts.detection import find_sheet
from rangefinder.charts.kernel_estimation import (
    equivalent_discs,
    estimate_residual,
    normal_equations,
)
from rangefinder.charts.lens_fit import (
    COLOURS,
    MOST_WINDOWS,
    CrossRelation,
    LensFit,
    choose_windows,
    first_shape,
    fit_lens,
)
from rangefinder.charts.pair_windows import BRIGHT, DARK, Pair, Windows, kernel_margin, pair_windows
from rangefinder.charts.printed_sheets import (
    PrintColours,
    SheetPhoto,
    SheetView,
    fit_colours,
    read_drawing,
)
from rangefinder.charts.registration import Registration, lateral_shifts
from rangefinder.config import Parameters
from rangefinder.errors import CaptureError, LensError
from rangefinder.optics.blur import blur_px
from rangefinder.optics.calibrated_lens import CalibratedLens
from rangefinder.optics.lens_model import BLUE, RED, LensModel
from rangefinder.optics.sensor import undeveloped

Float = NDArray[np.float32]
Double = NDArray[np.float64]
COLOUR_NAMES = ("red", "green", "blue")
MIN_DISTANCES = 2
COLOUR_PHOTOS = 8  # of sheets, nearest to the focus, that show the colours of the print
COLOUR_ROUNDS = 2
LEAST_STOP = 2.0  # f-number of the sharp photo / of the blurred one
SAME_DISTANCE = 0.01  # relative
LATERAL_SIGNIFICANCE = 3.0  # standard errors from which lateral colour is believed
SKIP = "--skip-bad goes on without these photos."
STOP_DOWN = "Stop down by three stops or more for the sharp photo: f/2.8 with f/11, say."


@dataclass
class Calibration:
    """What is known of a lens from a table of photos with sharp references.

    Attributes:
        discs: A line for each window and colour: pair, distance, place, measured and modelled disc.
        residual_share: Of the squared residuals on distances left out that corrections explain.
        noise: Noise / contrast of the blurred windows, what no lens explains.
    """

    lens: CalibratedLens
    fit: LensFit
    discs: pd.DataFrame
    relation: CrossRelation
    registrations: dict[str, Registration]
    residual_share: float
    noise: float
    distances_m: tuple[float, ...]  # that were photographed, near to far
    problems: list[Problem] = field(default_factory=list)  # of pairs that were left out


@dataclass
class PairReader:
    """Reads rows of a table that name a sharp photo, or the drawing of a sheet.

    Args:
        sharp_f_number: Of all sharp photos; None: by the column of the table, or by EXIF.
        skip_bad: Whether to go on without photos that cannot be used.
    """

    table: Table
    camera: Camera
    params: Parameters
    sharp_f_number: float | None = None
    skip_bad: bool = False

    def __post_init__(self) -> None:
        self.importer = Importer(self.camera, self.params)
        self.drawing = cache(read_drawing)

    def read_pair(self, row: Row) -> Pair:
        """Both photos of a row, in the sensor's colours.

        Raises:
            CaptureError: If one cannot be used, or they do not belong together.
        """
        image, distance_m, is_lossy = self._blurred(row)
        options = self.params.captures
        path = inside(self.table.folder, cast("str", row.sharp_image))
        sharp = decode(path, row.encoding, options.orientation, options.sample_bits)
        if sharp.image.shape != image.shape:
            raise CaptureError(
                f"{row.sharp_image} has another size than {row.image}",
                got=_size(sharp.image),
                expected=_size(image),
            )
        return Pair(
            name=row.image,
            blurred=self._light(image),
            sharp=self._light(sharp.image),
            clipped=_clipped(image),
            sharp_clipped=_clipped(sharp.image),
            distance_m=distance_m,
            sharp_f_number=self._sharp_f_number(row, sharp),
            is_lossy=is_lossy or sharp.storage.is_lossy,
        )

    def read_sheet(self, row: Row) -> SheetPhoto:
        """The photo of a printed sheet, which is found in it.

        Raises:
            CaptureError: If it is not, or photo or drawing cannot be used.
        """
        drawing = self.drawing(inside(self.table.folder, cast("str", row.sheet)))
        image, distance_m, is_lossy = self._blurred(row)
        found = find_sheet(image)
        if found is None:
            raise CaptureError(
                f"no sheet is seen in {row.image}",
                expected="all six discs in its margin",
                todo="Take a smaller sheet where it does not fit, a larger one where its discs are "
                "lost in blur.",
            )
        if not isinstance(distance_m, float):
            raise CaptureError(
                f"{row.image} has a distance map", expected="distance_m, to a sheet's plane"
            )
        photo = SheetPhoto(
            name=row.image,
            light=self._light(image),
            clipped=_clipped(image),
            view=SheetView(drawing, found, self.params.bank.gaussian_px),
            distance_m=distance_m,
            is_lossy=is_lossy,
        )
        return photo.upright()

    def _blurred(self, row: Row) -> tuple[Tensor, float | Float, bool]:
        """The photo of a row, `[3, H, W]`; its distance or distance map; whether it is lossy."""
        capture, decoded = self.importer.read(self.table, row)
        if (row.origin_x_px, row.origin_y_px, row.scale) != (0.0, 0.0, 1.0):
            raise CaptureError(f"{row.image} is a part of a photo", expected="a whole one")
        distance = capture.distance_m if capture.distance_map is None else capture.distance_map
        if distance is None:
            raise CaptureError(f"{row.image} is at no known distance", todo="Take the row out.")
        known = distance.numpy() if isinstance(distance, Tensor) else float(distance)
        return capture.image, known, decoded.storage.is_lossy

    def _light(self, image: Tensor) -> Float:
        return undeveloped(image, self.camera.encoding).numpy().astype(np.float32)

    def _sharp_f_number(self, row: Row, sharp: Decoded) -> float:
        try:
            stated = float(sharp.exif.get(Base.FNumber, 0.0))
        except (TypeError, ValueError, ZeroDivisionError):
            stated = 0.0
        found = self.sharp_f_number or row.sharp_f_number or stated
        if not np.isfinite(found) or found <= 0.0:
            raise CaptureError(
                f"the f-number of {row.sharp_image} is not known: its EXIF has none",
                todo="Add a column sharp_f_number, or give --sharp-f-number.",
            )
        if found < LEAST_STOP * self.camera.f_number:
            raise CaptureError(
                f"{row.sharp_image} is hardly stopped down",
                got=f"f/{found:g}, f/{self.camera.f_number:g} in the camera record",
                expected=f"f/{LEAST_STOP * self.camera.f_number:.3g} or higher",
                todo=STOP_DOWN,
            )
        return float(found)


def _size(image: Tensor) -> str:
    return f"{image.shape[2]}x{image.shape[1]} px"


def _clipped(image: Tensor) -> NDArray[np.bool_]:
    """Pixels `[H, W]` that are burnt out in any colour, or black in all."""
    light = image.numpy()
    return np.asarray((light.max(axis=0) >= BRIGHT) | (light.max(axis=0) <= DARK))


def read_windows(reader: PairReader) -> tuple[Windows, dict[str, Registration], list[Problem]]:
    """Windows of all photos of a table that have a sharp reference.

    Returns:
        Windows; how each photo was registered; what keeps others out.

    Raises:
        CaptureError: If there are none, or one cannot be used and is not to be skipped.
    """
    rows = [row for row in reader.table.rows if row.sharp_image or row.sheet]
    if not rows:
        raise CaptureError(
            f"{reader.table.path} has no photos with a sharp reference",
            got=f"{len(reader.table.rows)} rows without sharp_image or sheet",
            expected="rows of role chart with distance_m and one of both",
            todo="Add a column sharp_image: the photo of the same view, stopped down; or sheet: "
            "the drawing of the printed sheet that is seen.",
        )
    known_m = [row.distance_m for row in rows if row.distance_m is not None]
    if not known_m:  # maps
        known_m = list(reader.params.range.working_m)
    margin = kernel_margin(reader.camera, np.array(known_m))
    near = _sheets_near_the_focus(reader, rows)
    colours = _print_colours(list(near.values()), reader.camera, margin)
    parts, registered = [], {}
    problems = [problem for problem in reader.table.problems if problem.is_fatal]
    for index, row in enumerate(tqdm(rows, "registering photos", unit="photo", disable=None)):
        try:
            if row.sharp_image is None:
                pair = (near.pop(row.number, None) or reader.read_sheet(row)).pair(colours)
            else:
                pair = reader.read_pair(row)
            windows, registered[row.image] = pair_windows(pair, index, reader.camera, margin)
        except CaptureError as error:
            problems.append(Problem.of(reader.table.path.name, row.number, row.image, error))
            continue
        parts.append(windows)
    if parts and not reader.skip_bad:
        refuse(problems, SKIP)
    if not sum(len(part) for part in parts):
        shown = f": {problems[0]}" if problems else ""
        raise CaptureError(
            f"no photo of {reader.table.path.name} shows blur that can be measured{shown}",
            todo="Photograph something flat with strong, fine texture, neither too dark nor burnt "
            "out, from a tripod.",
        )
    return Windows.of([part for part in parts if len(part)]), registered, problems


def _sheets_near_the_focus(reader: PairReader, rows: Sequence[Row]) -> dict[int, SheetPhoto]:
    """Photos of sheets that are nearest to the record's focus, by the number of their row."""
    sheets = [row for row in rows if row.sharp_image is None]
    sheets.sort(key=lambda row: float(blur_px(reader.camera, row.distance_m or np.inf)))
    found = {}
    for row in sheets[:COLOUR_PHOTOS]:
        with suppress(CaptureError):  # raised again where every row is read
            found[row.number] = reader.read_sheet(row)
    return found


def _print_colours(photos: Sequence[SheetPhoto], camera: Camera, margin_px: int) -> PrintColours:
    """Colours of the print that photos of sheets show; those of the drawing, if they show none."""
    colours = PrintColours()
    rounds = range(COLOUR_ROUNDS if photos else 0)
    for _ in tqdm(rounds, "colours of the print", unit="round", disable=None):
        found = []
        for photo in photos:
            with suppress(CaptureError):  # raised again where windows are read
                seen, registered = pair_windows(photo.pair(colours), 0, camera, margin_px)
                found.append((photo.registered(registered), seen))
        if not any(len(seen) for _, seen in found):
            break
        colours = fit_colours(found, camera.centre_px)
    return colours


def calibrate(reader: PairReader, one_side: bool = False) -> Calibration:
    """The lens behind the photos of a table.

    Args:
        reader: The table, the camera record and the parameters.
        one_side: Whether photos on one side of the focus are accepted.

    Raises:
        CaptureError: If there are no photos with a sharp reference, or of too few distances.
        LensError: If all are on one side of the focus.
    """
    windows, registered, problems = read_windows(reader)
    distances = _distinct(windows.distance_m)
    if len(distances) < MIN_DISTANCES:
        raise CaptureError(
            "photos of too few distances",
            got=", ".join(f"{d:g} m" for d in distances),
            expected=f"{MIN_DISTANCES} or more, better 20, on both sides of the focus",
            todo="Photograph more, evenly spaced in dioptres: `rangefinder distances` lists them.",
        )
    start = first_shape(windows, reader.camera)
    focus_m = start.focus_distance_m
    if not one_side and not distances[0] < focus_m < distances[-1]:
        raise LensError(
            "all photos lie on one side of the focus",
            got=f"{distances[0]:g} to {distances[-1]:g} m, sharpest at {focus_m:.3g} m",
            expected="distances before and behind it",
            todo="Photograph some on the other side too, or give --one-side: how the lens blurs "
            "there is then a guess.",
        )
    chosen = choose_windows(windows, MOST_WINDOWS)
    relation = CrossRelation(chosen, reader.camera, reader.params.bank)
    fit = fit_lens(relation, start)
    fit = replace(fit, model=_with_lateral_colour(fit, windows, reader.camera))
    residual, share = estimate_residual(normal_equations(relation, fit.model))
    lens = CalibratedLens(fit.model, residual)
    noise = np.median((chosen.noise / relation.contrast)[chosen.reliable])
    return Calibration(
        lens=lens,
        fit=fit,
        discs=disc_table(relation, lens),
        relation=relation,
        registrations=registered,
        residual_share=share,
        noise=float(noise),
        distances_m=distances,
        problems=problems,
    )


def _distinct(distance_m: Double) -> tuple[float, ...]:
    """Distances, near to far, those within a per cent of each other once."""
    found: list[float] = []
    for distance in np.unique(distance_m).tolist():
        if not found or distance > found[-1] * (1 + SAME_DISTANCE):
            found.append(distance)
    return tuple(found)


def _with_lateral_colour(fit: LensFit, windows: Windows, camera: Camera) -> LensModel:
    """The model with the lateral colour that sharp photos show, where it is more than noise."""
    radius = np.hypot(*windows.place_px.T)
    direction = windows.place_px / np.maximum(radius, 1.0)[:, None]
    values = {}
    for name, colour in (("red_px", RED), ("blue_px", BLUE)):
        good = windows.reliable[:, colour]
        shift = lateral_shifts(windows.sharp, windows.weight, colour)
        outward = -(shift * direction).sum(axis=1)[good]
        at = radius[good] / camera.half_diagonal_px
        slope = outward / np.maximum(at, 0.2)
        middle = float(np.median(slope)) if len(slope) else 0.0
        spread = float(np.median(np.abs(slope - middle))) / 0.6745 if len(slope) else np.inf
        error = 1.25 * spread / max(len(slope), 1) ** 0.5
        values[name] = middle if abs(middle) > LATERAL_SIGNIFICANCE * error else 0.0
    return fit.model.with_values(values)


def disc_table(relation: CrossRelation, lens: CalibratedLens) -> pd.DataFrame:
    """Measured and modelled discs of all windows and colours, one line each."""
    windows = relation.windows
    largest = 2.0 * windows.margin_px
    parts = []
    for colour in COLOURS:
        blurred, sharp, _ = relation.kernels(lens.model, colour)
        points = relation.points(colour)
        good = windows.reliable[:, colour]
        part = {
            "pair": windows.pair[good],
            "distance_m": windows.distance_m[good],
            "x_px": windows.place_px[good, 0],
            "y_px": windows.place_px[good, 1],
            "radius": points.radius[good],
            "colour": COLOUR_NAMES[colour],
            "measured_px": windows.discs_px[good, colour],
            "modelled_px": equivalent_discs(blurred[good], sharp[good], largest),
        }
        parts.append(pd.DataFrame(part))
    return pd.concat(parts, ignore_index=True)
