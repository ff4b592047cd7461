"""Plausibility of distance maps: wrong units and kinds, nothing in them, shifted to the photo."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from rangefinder.captures.distance_maps import MILLIMETRES, MapMeaning
from rangefinder.config import Interval

Float = NDArray[np.floating]
MIN_KNOWN_SHARE = 0.01  # of the pixels
MIN_WITHIN_SHARE = 0.5  # of the known pixels, within the working range
SAME = 1e-4  # relative spread of a map of one distance
METRE_UNITS = {0.01: "Centimetres", 0.001: "Millimetres"}  # by scale, of floating-point maps
PNG_UNITS = {  # by scale, of 16-bit PNG
    1 / 256: "256 per metre, as KITTI has",
    1 / 5000: "5000 per metre, as TUM has",
    1 / 4000: "4000 per metre, as Matterport has",
    0.01: "Centimetres",
    0.0001: "Tenths of millimetres",
}
WIDE_PX = 160  # longer side of the reduced map and photo that are compared
WINDOWS = 8  # along the shorter side
MIN_SLOPE, MAX_BEND = 0.03, 0.2  # of a slanted plane: relative slope, and residual to slope
MIN_WINDOWS = 8  # for a verdict
STANDARD_ERRORS = 3.0  # that a verdict needs
BEND_FLOOR = 1e-4  # relative residual that is rounding
EDGE_STEP = 0.05  # relative step of a depth edge
MIN_EDGES = 8  # of a window
PROMINENCE = 4.5  # standard deviations that chance does not reach over so many shifts
MAX_SHIFT, NO_SHIFT = 0.2, 0.03  # of the width: looked for, and what registration leaves
GRADIENT_PX, SURROUND_PX = 1.0, 12.0  # scales of a gradient and of what it is compared with
LIGHT_FLOOR = 0.02  # added before the logarithm, so that noise in black does not count


@dataclass(frozen=True)
class Doubt:
    """Why a map may be wrong, and what to do if it is."""

    found: str
    todo: str


def doubts(
    path: Path,
    distance_m: Tensor,
    image: Tensor,
    meaning: MapMeaning,
    working_m: Interval,
    valid: Tensor | None = None,
    *,
    may_be_flat: bool = False,
) -> Iterator[Doubt]:
    """What is doubtful about a map.

    Args:
        path: Its file.
        distance_m: `[H, W]` [m], 0 unknown.
        image: `[3, H, W]` linear light of its photo.
        meaning: What is said of its numbers; about what is said there, nothing is guessed.
        working_m: Nearest and farthest distance that are rendered and learned.
        valid: `[H, W]`: where the map counts; None: everywhere.
        may_be_flat: Whether a map of one distance is as it should be.
    """
    all_m = distance_m.numpy()
    known_m = all_m if valid is None else all_m * valid.numpy()
    known = known_m[known_m > 0]
    share = known.size / (known_m.size if valid is None else max(int(valid.sum()), 1))
    if share < MIN_KNOWN_SHARE:
        yield Doubt(f"only {share:.2%} of its pixels are known", "Look into the file.")
        return
    if not may_be_flat and np.ptp(all_m[all_m > 0]) <= SAME * all_m.max():
        yield Doubt(
            f"all its known pixels are {all_m.max():.4g} m away",
            "A plane that faces the camera is of role chart, with its distance_m.",
        )
        return
    inverse = meaning.kind is None and inverse_evidence(known_m) > STANDARD_ERRORS
    if inverse:
        found = "planes are flat in its numbers and not in their inverses"
        yield Doubt(found, "Disparities, or 1/distance? Give distance_kind.")
    outside = 1 - _within(known, working_m)
    if outside > 1 - MIN_WITHIN_SHARE:
        guess = "" if inverse else _other_unit(path, known, meaning, working_m)
        yield _outside(outside, float(np.median(known)), meaning, working_m, guess)
    yield from _shift_doubt(all_m, image)  # a mask takes out depth edges above all


def _within(distance_m: Float, working_m: Interval) -> float:
    """Share of distances within the working range."""
    return float(np.mean((distance_m >= working_m[0]) & (distance_m <= working_m[1])))


def _outside(
    share: float, median_m: float, meaning: MapMeaning, working_m: Interval, guess: str
) -> Doubt:
    found = (
        f"{share:.0%} of its known pixels are outside of range.working_m "
        f"({working_m[0]:g} to {working_m[1]:g} m), median {median_m:.4g} m"
    )
    if meaning.scale is not None:
        return Doubt(found, "Mend distance_scale, or widen range.working_m.")
    otherwise = "Give distance_scale or distance_kind, or widen range.working_m."
    return Doubt(found, guess or otherwise)


def _other_unit(path: Path, distance_m: Float, meaning: MapMeaning, working_m: Interval) -> str:
    """A question for the usual unit that brings most distances into the working range, if any."""
    if meaning.scale is not None or not meaning.is_length:
        return ""
    is_png = path.suffix.lower() == ".png"
    numbers = distance_m / (MILLIMETRES if is_png else 1.0)
    guesses = [
        (_within(numbers * scale, working_m), f"{name}? Give distance_scale {scale:.10g}.")
        for scale, name in (PNG_UNITS if is_png else METRE_UNITS).items()
    ]
    if not is_png:
        inverse = _within(1 / numbers, working_m)
        guesses.append((inverse, "Inverse distances? Give distance_kind inverse."))
    share, best = max(guesses, key=lambda guess: guess[0])
    return best if share >= MIN_WITHIN_SHARE else ""


def inverse_evidence(distance_m: Float) -> float:
    """Standard errors by which planes are flatter in a map than in its inverse.

    The inverse depth of a plane is affine in the pixel coordinates of a pinhole camera, its depth
    is not. Where a window shows a slanted plane, both are fitted, and the residuals compared.

    Args:
        distance_m: `[H, W]` [m], 0 unknown.

    Returns:
        Positive for a map of inverse distances or disparities, 0 with too few slanted planes.
    """
    reduced = _strided(distance_m)
    side = max(min(reduced.shape) // WINDOWS, 2)
    windows = _windows(reduced, side)
    windows = windows[(windows > 0).all(axis=1)]
    if not len(windows):
        return 0.0
    slope, bend = _plane_fit(windows, side)
    _, inverse_bend = _plane_fit(1 / windows, side)
    slanted = (slope > MIN_SLOPE) & (np.minimum(bend, inverse_bend) < MAX_BEND * slope)
    if slanted.sum() < MIN_WINDOWS:
        return 0.0
    ratio = np.log((inverse_bend[slanted] + BEND_FLOOR) / (bend[slanted] + BEND_FLOOR))
    return _standard_errors(ratio, np.ones_like(ratio))


def _plane_fit(windows: Float, side: int) -> tuple[Float, Float]:
    """Relative slope and residual `[N]` (rms) of affine fits to windows `[N, side * side]`."""
    x = np.tile(np.arange(side) - (side - 1) / 2, (side, 1))
    plane, _ = np.linalg.qr(np.stack([np.ones(side * side), x.ravel(), x.T.ravel()], axis=1))
    relative = windows / windows.mean(axis=1, keepdims=True)
    parts = relative @ plane
    residual = relative - parts @ plane.T
    slope = np.sqrt((parts[:, 1:] ** 2).sum(axis=1)) / side
    return slope, np.sqrt((residual**2).mean(axis=1))


def _shift_doubt(distance_m: Float, image: Tensor) -> Iterator[Doubt]:
    shift = best_shift(distance_m, image)
    if shift.is_plain:
        where = f"{shift.x:+.0%} of the width to the right and {shift.y:+.0%} down"
        found = f"its depth edges fit those of the photo better if it is moved by {where}"
        yield Doubt(found, "Register the map to the photo, pixel by pixel.")


@dataclass(frozen=True)
class Shift:
    """Shift of a map at which its depth edges lie best on edges of the photo.

    Attributes:
        x: To the right, as a share of the width.
        y: Down, as a share of the width.
        evidence: Standard errors, over windows, by which it is better than next to no shift.
        prominence: Standard deviations, over shifts, by which it is better than chance.
    """

    x: float = 0.0
    y: float = 0.0
    evidence: float = 0.0
    prominence: float = 0.0

    @property
    def is_plain(self) -> bool:
        """Whether it is neither noise of the windows nor the best of many chances."""
        return self.evidence > STANDARD_ERRORS and self.prominence > PROMINENCE


def best_shift(distance_m: Float, image: Tensor) -> Shift:
    """Compare depth edges with edges of the photo, shift by shift and window by window.

    The score of a shift is the mean of the photo's gradients across depth edges. The best shift
    farther than what registration leaves is compared with the best one nearer, and with all others
    (peak to sidelobe ratio: Bolme et al., Visual object tracking using adaptive correlation
    filters, 2010).

    Args:
        distance_m: `[H, W]` [m], 0 unknown.
        image: `[3, H, W]` linear light.

    Returns:
        The shift; none, without evidence, where there are too few depth edges.
    """
    edges, gradients = _depth_edges(_strided(distance_m)), _image_edges(image)
    width = edges.shape[2]
    scores, weights = _shift_scores(edges, gradients, round(MAX_SHIFT * width))
    if len(scores) < MIN_WINDOWS:
        return Shift()
    reach, left = scores.shape[1] // 2, max(round(NO_SHIFT * width), 2)
    mean = np.average(scores, axis=0, weights=weights)
    near = _around(mean.shape, (reach, reach), left)
    there, here = _best(np.where(near, -np.inf, mean)), _best(np.where(near, mean, -np.inf))
    y, x = ((index - reach) / width for index in there)
    gain = scores[:, there[0], there[1]] - scores[:, here[0], here[1]]
    others = mean[~_around(mean.shape, there, left)]
    prominence = float((mean[there] - others.mean()) / max(float(others.std()), 1e-12))
    return Shift(x, y, _standard_errors(gain, weights), prominence)


def _best(scores: Float) -> tuple[int, int]:
    row, col = np.unravel_index(np.argmax(scores), scores.shape)
    return int(row), int(col)


def _around(shape: tuple[int, ...], centre: Sequence[int], reach: int) -> NDArray[np.bool_]:
    """Places of a lattice up to `reach` rows and columns from one of them."""
    rows, cols = (np.abs(np.arange(size) - c) for size, c in zip(shape, centre, strict=True))
    return np.maximum(rows[:, None], cols) <= reach


def _depth_edges(distance_m: Float) -> Float:
    """`[2, h, w]` where the distance jumps along x, and along y; never at unknown pixels."""
    log = np.log(np.where(distance_m > 0, distance_m, np.nan))
    edges = np.zeros((2, *log.shape))
    edges[0, :, 1:-1] = np.abs(log[:, 2:] - log[:, :-2]) > EDGE_STEP
    edges[1, 1:-1] = np.abs(log[2:] - log[:-2]) > EDGE_STEP
    return edges


def _image_edges(image: Tensor) -> Float:
    """`[2, h, w]` contrast of light along x, and along y: 0 to 1, half at the local mean."""
    from scipy import ndimage

    light = image.mean(dim=0).numpy()
    step = _step(light.shape)
    rows, cols = (size // step for size in light.shape)
    cells = light[: rows * step, : cols * step].reshape(rows, step, cols, step)
    log = np.log(cells.mean(axis=(1, 3)) + LIGHT_FLOOR)
    gradients = np.abs(
        [ndimage.gaussian_filter(log, GRADIENT_PX, order=order) for order in ((0, 1), (1, 0))]
    )
    around = ndimage.gaussian_filter(np.hypot(*gradients), SURROUND_PX) + 1e-3
    return np.asarray(gradients / (gradients + around))


def _shift_scores(edges: Float, gradients: Float, reach: int) -> tuple[Float, Float]:
    """Mean gradient on the edges of each window, for every shift up to `reach` cells.

    Returns:
        `[N, 2 reach + 1, 2 reach + 1]`, and weights `[N]`.
    """
    from scipy.signal import fftconvolve

    padded = np.empty((2, *(size + 2 * reach for size in edges.shape[1:])))
    for axis in range(2):
        padded[axis] = np.pad(gradients[axis], reach, constant_values=gradients[axis].mean())
    scores, weights = [], []
    rows, cols = (np.linspace(0, size, WINDOWS + 1).astype(int) for size in edges.shape[1:])
    for top, bottom in pairwise(rows):
        for left, right in pairwise(cols):
            own = edges[:, top:bottom, left:right]
            if own.sum() < MIN_EDGES:
                continue
            part = padded[:, top : bottom + 2 * reach, left : right + 2 * reach]
            sums = [
                fftconvolve(part[axis], own[axis, ::-1, ::-1], mode="valid") for axis in range(2)
            ]
            scores.append(np.sum(sums, axis=0) / own.sum())
            weights.append(np.sqrt(own.sum()))
    return np.array(scores), np.array(weights)


def _standard_errors(values: Float, weights: Float) -> float:
    """Weighted mean of independent values / its standard error."""
    shares = weights / weights.sum()
    mean = (shares * values).sum()
    error = np.sqrt((shares**2 * (values - mean) ** 2).sum())
    return float(mean / max(error, 1e-12))


def _step(shape: tuple[int, ...]) -> int:
    return max(1, round(max(shape) / WIDE_PX))


def _strided(distance_m: Float) -> Float:
    """Every so many pixels, about `WIDE_PX` of the longer side."""
    step = _step(distance_m.shape)
    rows, cols = (size // step * step for size in distance_m.shape)
    return np.asarray(distance_m[step // 2 : rows : step, step // 2 : cols : step], np.float64)


def _windows(values: Float, side: int) -> Float:
    """Square windows `[N, side * side]` of `[H, W]`."""
    rows, cols = (size // side for size in values.shape)
    cells = values[: rows * side, : cols * side].reshape(rows, side, cols, side)
    return cells.swapaxes(1, 2).reshape(-1, side * side)
