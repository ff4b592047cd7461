"""Photos of printed sheets as references for calibration: what each would show without blur.

The discs in the margin give the homography from sheet to photo. Through it the drawing is sampled
as a sensor samples light: by a Gaussian and the area of pixels. Inks and paper have other colours
than the drawing; which, is found from the photos by polynomial regression on the drawn sRGB values
(Hong, Luo and Rhodes, A study of digital camera colorimetric characterization, 2001).
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy import fft, ndimage

from rangefinder.captures.decoding import decode
from rangefinder.charts.detection import FoundSheet, project
from rangefinder.charts.pair_windows import PINHOLE, Pair, Windows
from rangefinder.charts.registration import GREEN, Registration, cut, disc_transfer
from rangefinder.charts.sheets import MARGIN, UNITS
from rangefinder.errors import CaptureError
from rangefinder.optics.srgb import linear_to_srgb, srgb_to_linear

Float = NDArray[np.float32]
Double = NDArray[np.float64]
Mask = NDArray[np.bool_]
CELLS = 3  # per pixel, at which a drawing is sampled
STRIP = 128  # rows of a photo that are sampled at once
INSET = 0.4  # left out along the border of a sheet [24ths of its height]
ASPECT_ERROR = 0.01  # relative, of a drawing
DEGREE = 3  # of the polynomial in drawn sRGB values
EXPONENTS = tuple(e for e in itertools.product(range(DEGREE + 1), repeat=3) if sum(e) <= DEGREE)
STRIDE = 3  # between pixels of windows that colours are fitted to
RIDGE = 1e-6  # of the mean square of a term
FINE_SD_PX = 1.5, 6.0  # band in which the two ways up of a sheet are compared
HALF_TURN = np.array([[-1.0, 0.0, UNITS[0]], [0.0, -1.0, UNITS[1]], [0.0, 0.0, 1.0]])
Terms = Callable[[Float], Float]


@dataclass(frozen=True, eq=False)
class Drawing:
    """The picture of a sheet that was printed."""

    values: NDArray[np.uint8]  # `[3, h, w]` sRGB

    @property
    def px_per_unit(self) -> float:
        """Its pixels in a 24th of the sheet's height."""
        return float(self.values.shape[1] / UNITS[1])

    def reduced(self, terms: Terms, times: int) -> Float:
        """Terms `[T, h / times, w / times]` of its values, averaged over blocks."""
        height, width = (side // times * times for side in self.values.shape[1:])
        parts = []
        for top in range(0, height, STRIP * times):
            strip = self.values[:, top : min(top + STRIP * times, height), :width]
            found = terms(strip.astype(np.float32) / np.float32(255))
            blocks = found.reshape(len(found), -1, times, width // times, times)
            parts.append(np.asarray(blocks.mean(axis=(2, 4)), dtype=np.float32))
        return np.concatenate(parts, axis=1)


def read_drawing(path: Path) -> Drawing:
    """The drawing of a sheet, as `rangefinder chart --format png` writes it.

    Raises:
        CaptureError: If it is no picture, or has another shape than a sheet.
    """
    picture = decode(path, encoding="srgb").image.numpy()
    height, width = picture.shape[1:]
    aspect = UNITS[0] / UNITS[1]
    if abs(width / height / aspect - 1) > ASPECT_ERROR:
        raise CaptureError(
            f"{path.name} is not the drawing of a sheet",
            got=f"{width}x{height} px",
            expected="A4's shape, landscape",
            todo="Draw the sheet that was printed again, with the same size, --dpi and --seed: "
            "rangefinder chart --format png.",
        )
    return Drawing(np.rint(255 * linear_to_srgb(picture)).astype(np.uint8))


@dataclass(frozen=True)
class PrintColours:
    """Light of printed colours, a polynomial in drawn sRGB values.

    Attributes:
        weights: `[3, T]` of `EXPONENTS`, in red, green and blue; None: the colours as drawn.
    """

    weights: Double | None = None

    def light(self, values: Float) -> Float:
        """Light `[3, ...]` of drawn sRGB values `[3, ...]` 0..1."""
        if self.weights is None:
            return srgb_to_linear(values)
        found = np.tensordot(self.weights.astype(np.float32), polynomial(values), axes=1)
        return np.maximum(found, 0.0, dtype=np.float32)


def polynomial(values: Float) -> Float:
    """Terms `[T, ...]` of `[3, ...]`, of `EXPONENTS`."""
    red, green, blue = values
    return np.stack([red**i * green**j * blue**k for i, j, k in EXPONENTS])


@dataclass(frozen=True, eq=False)
class SheetView:
    """The drawing of a sheet, seen by a sensor through a pinhole."""

    drawing: Drawing
    sheet: FoundSheet  # where the sheet is
    gaussian_px: float  # sd of the sensor's blur

    def sampled(self, terms: Terms) -> Float:
        """Terms `[T, H, W]` of the drawing; beyond the sheet its border goes on."""
        height, width = self.sheet.shape
        middle = np.array(UNITS) / 2 + np.array([[0, 0], [1, 0], [0, 1]])
        origin, *sides = project(self.sheet.homography, middle)
        px_per_unit = abs(np.linalg.det(np.stack([side - origin for side in sides]))) ** 0.5
        times = max(1, int(self.drawing.px_per_unit / (CELLS * px_per_unit)))
        source = self.drawing.reduced(terms, times)
        to_source = self._to_pixels(source.shape[1:])
        margin = int(np.ceil(4 * self.gaussian_px)) + 1  # reach of the Gaussian
        cols = (np.arange(-margin * CELLS, (width + margin) * CELLS) + 0.5) / CELLS
        result = np.empty((len(source), height, width), dtype=np.float32)
        for top in range(0, height, STRIP):
            bottom = min(top + STRIP, height)
            rows = (np.arange((top - margin) * CELLS, (bottom + margin) * CELLS) + 0.5) / CELLS
            places = np.stack(np.meshgrid(cols, rows), axis=-1)
            at = project(to_source, places.reshape(-1, 2)).reshape(places.shape)
            at = at.transpose(2, 0, 1)[::-1]  # rows before columns
            for term, picture in zip(result, source, strict=True):
                cells = ndimage.map_coordinates(picture, at, order=1, mode="nearest")
                cells = ndimage.gaussian_filter(cells, self.gaussian_px * CELLS)
                pixels = cells.reshape(len(rows) // CELLS, CELLS, -1, CELLS).mean(axis=(1, 3))
                term[top:bottom] = pixels[margin:-margin, margin:-margin]
        return result

    def outside(self, inset: float = INSET) -> Mask:
        """Pixels `[H, W]` that do not show the sheet without an inset along its border."""
        return np.asarray(~self.sheet.mask(inset - MARGIN))

    def through(self, homography: Double) -> SheetView:
        """The view through another homography `[3, 3]` from the sheet."""
        return replace(self, sheet=replace(self.sheet, homography=homography))

    def _to_pixels(self, size: tuple[int, ...]) -> Double:
        """Homography from the photo [px] to the pixels of a drawing, counted from their centres."""
        scale = np.diag([size[1] / UNITS[0], size[0] / UNITS[1], 1.0])
        scale[:2, 2] = -0.5
        return np.asarray(scale @ np.linalg.inv(self.sheet.homography))


@dataclass(frozen=True, eq=False)
class SheetPhoto:
    """A photo of a printed sheet that faces the camera."""

    name: str
    light: Float  # `[3, H, W]` in the sensor's colours
    clipped: Mask  # `[H, W]` pixels whose light is not known
    view: SheetView  # what it would show without blur
    distance_m: float
    is_lossy: bool = False  # it is of a lossy format

    def upright(self) -> SheetPhoto:
        """The photo with the sheet the right way up: its discs look alike either way."""
        inside = ~self.view.outside()
        seen = _band(self.light[GREEN])[inside]

        def alike(view: SheetView) -> float:
            shown = _band(view.sampled(PrintColours().light)[GREEN])[inside]
            return float(np.corrcoef(seen, shown)[0, 1])

        turned = self.view.through(self.view.sheet.homography @ HALF_TURN)
        return replace(self, view=max((self.view, turned), key=alike))

    def pair(self, colours: PrintColours) -> Pair:
        """The photo, and what it would show without blur."""
        return Pair(
            name=self.name,
            blurred=self.light,
            sharp=self.view.sampled(colours.light),
            clipped=self.clipped,
            sharp_clipped=self.view.outside(),
            distance_m=self.distance_m,
            sharp_f_number=PINHOLE,
            is_lossy=self.is_lossy,
        )

    def registered(self, found: Registration) -> SheetPhoto:
        """The photo with the sheet where its texture was found, not its discs alone."""
        half = np.array([[1.0, 0.0, 0.5], [0.0, 1.0, 0.5], [0.0, 0.0, 1.0]])  # centres to edges
        shift = half @ np.vstack([found.matrix, [0.0, 0.0, 1.0]]) @ np.linalg.inv(half)
        homography = np.linalg.inv(shift) @ self.view.sheet.homography
        return replace(self, view=self.view.through(homography))


def _band(picture: Float) -> Float:
    """Detail of middle size."""
    low, high = (ndimage.gaussian_filter(picture, sd) for sd in FINE_SD_PX)
    return np.asarray(low - high)


def fit_colours(
    found: Sequence[tuple[SheetPhoto, Windows]], centre_px: tuple[float, float]
) -> PrintColours:
    """Colours of the print that explain windows of photos best, blurred by the discs found there.

    Args:
        found: Photos with the sheet where its texture was found, and the windows of each.
        centre_px: Optical centre of the photos.
    """
    count = len(EXPONENTS)
    normal, right = np.zeros((3, count, count)), np.zeros((3, count))
    for photo, windows in found:
        margin = windows.margin_px
        corners = windows.place_px + np.array(centre_px) - windows.window_px / 2
        terms = photo.view.sampled(polynomial)
        padded = np.pad(terms, ((0, 0), (margin, margin), (margin, margin)), mode="edge")
        for index, corner in enumerate(np.rint(corners[:, ::-1]).astype(np.int64)):
            patch = cut(padded, corner[None], windows.sharp.shape[-1])[0]
            for colour, (part, target) in enumerate(_equations(windows, index, patch)):
                normal[colour] += part.T @ part
                right[colour] += part.T @ target
    size = RIDGE * np.einsum("cii->c", normal)[:, None, None] / count
    return PrintColours(np.linalg.solve(normal + size * np.eye(count), right[..., None])[..., 0])


def _equations(windows: Windows, index: int, terms: Float) -> list[tuple[Double, Double]]:
    """Linear equations of the weights of `terms` `[T, L, L]`, of one window, by colour."""
    side, margin = terms.shape[-1], windows.margin_px
    inner = slice(margin, side - margin, STRIDE)
    transfers = disc_transfer(side, windows.discs_px[index])
    spectrum = fft.rfft2(terms)
    result = []
    for colour, transfer in enumerate(transfers):
        blurred = fft.irfft2(spectrum * transfer, s=(side, side))[:, inner, inner]
        known = windows.weight[index, colour, ::STRIDE, ::STRIDE].astype(bool)
        target = windows.blurred[index, colour, inner, inner][known].astype(np.float64)
        target *= np.exp(-windows.log_level[index, colour])
        design = blurred[:, known].T * bool(windows.reliable[index, colour])
        result.append((design, target))
    return result
