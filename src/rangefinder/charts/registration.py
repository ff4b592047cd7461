"""Sub-pixel registration of a sharp photo to a blurred one of the same flat thing.

The shift of the whole picture comes from cross-correlation, then a shift of each window from least
squares against the sharp window blurred by the disc that fits best (Lucas and Kanade, An iterative
image registration technique, 1981, with gain and offset), then an affine map through all of them
by iteratively reweighted least squares: tripods shift and turn, focus breathing scales.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import fft, ndimage

from rangefinder.errors import CaptureError

Float = NDArray[np.float32]
Double = NDArray[np.float64]
GREEN = 1
COARSE_SD_PX = (2.0, 8.0)  # band of the picture that finds the shift of the whole
DISC_STEP_PX = 0.5  # between small discs that are tried
DISC_RATIO = 1.12  # between large ones
SHIFT_STEPS = 3  # of least squares for a window's shift
MAX_STEP_PX = 1.5  # of one of them
AFFINE_STEPS = 2  # registrations, each from the one before
REWEIGHTINGS = 8
OUTLIER_PX = 0.3  # deviation of a window's shift from which it counts less
MIN_WINDOWS = 3
MIN_SHARE = 0.3  # of the textured windows, that are alike in photos that show the same
MIN_CORRELATION = 0.6  # of a window that is alike
MIN_CONTRAST = 0.03  # sd / mean of a textured window
MOST_RESIDUAL = 1.0, 0.1  # [px], and share of the blur: deviation of windows' shifts
SPLINE_ORDER = 5  # of interpolation: as good as without blur


@dataclass(frozen=True)
class Registration:
    """Where each pixel of a blurred photo lies in the sharp one."""

    matrix: Double  # `[2, 3]` from (x, y, 1) in the blurred photo to (x, y) in the sharp one [px]
    residual_px: float  # median deviation of the windows' shifts from it
    correlation: float  # median over the windows of the photos as registered
    disc_px: float  # that blurs sharp to blurred, median over the windows

    def warp(self, sharp: Float, pad_px: int) -> Float:
        """The sharp photo `[3, H, W]` in the blurred photo's place, padded; NaN: not in it."""
        height, width = sharp.shape[1:]
        linear, shift = self.matrix[::-1, 1::-1], self.matrix[::-1, 2]  # rows before columns
        start = linear @ np.array([-pad_px, -pad_px]) + shift
        size = height + 2 * pad_px, width + 2 * pad_px
        warped = [
            ndimage.affine_transform(x, linear, start, size, order=SPLINE_ORDER, mode="mirror")
            for x in sharp
        ]
        rows, cols = np.mgrid[: size[0], : size[1]]
        y, x = np.tensordot(linear, np.stack([rows, cols]), axes=1) + start[:, None, None]
        outside = (x < -0.5) | (x > width - 0.5) | (y < -0.5) | (y > height - 0.5)
        result = np.stack(warped).astype(np.float32)
        result[:, outside] = np.nan
        return result


def disc_transfer(side: int, diameters_px: Double) -> Double:
    """Transfer functions `[N, side, side // 2 + 1]` of uniform discs (Airy's: 2 J1(x) / x)."""
    from scipy.special import j1

    frequency = np.hypot(fft.fftfreq(side)[:, None], fft.rfftfreq(side)[None])
    x = np.pi * np.asarray(diameters_px)[:, None, None] * frequency
    safe = np.maximum(x, 1e-9)
    return np.asarray(np.where(x < 1e-4, 1.0, 2 * j1(safe) / safe))


def fit_gain(model: Float, target: Float, weight: Float) -> tuple[Double, Double, Double]:
    """Gain and offset of `model` that fit `target` best, and the mean squared residual.

    Args:
        model: `[..., h, w]`.
        target: Likewise.
        weight: Likewise, 0 where nothing is known.

    Returns:
        `[...]` each.
    """
    total = np.maximum(weight.sum((-2, -1), dtype=np.float64), 1e-9)
    mean_m = (weight * model).sum((-2, -1), dtype=np.float64) / total
    mean_t = (weight * target).sum((-2, -1), dtype=np.float64) / total
    m, t = model - mean_m[..., None, None], target - mean_t[..., None, None]
    mm, mt, tt = ((weight * a * b).sum((-2, -1)) / total for a, b in ((m, m), (m, t), (t, t)))
    gain = mt / np.maximum(mm, 1e-12)
    offset = np.asarray(mean_t - gain * mean_m)
    return np.asarray(gain), offset, np.asarray(np.maximum(tt - gain * mt, 0.0))


def best_discs(
    sharp: Float, target: Float, weight: Float, largest_px: float
) -> tuple[Double, Double]:
    """Diameter of the disc that blurs each sharp patch to its target.

    Args:
        sharp: `[N, L, L]` sharp patches with a margin.
        target: `[N, w, w]` blurred ones without it.
        weight: `[N, w, w]`.
        largest_px: Largest disc that is tried.

    Returns:
        Diameters `[N]` [px], from a grid and a parabola through its best three; mean squared
        residual `[N]` at the grid's best.
    """
    side, margin = sharp.shape[-1], (sharp.shape[-1] - target.shape[-1]) // 2
    inner = slice(margin, side - margin)
    grid = disc_grid(largest_px)
    spectrum = fft.rfft2(sharp)
    costs = np.empty((len(grid), len(sharp)))
    for i, transfer in enumerate(disc_transfer(side, grid).astype(np.float32)):
        blurred = fft.irfft2(spectrum * transfer, s=(side, side))[:, inner, inner]
        costs[i] = fit_gain(blurred, target, weight)[2]
    best = costs.argmin(axis=0)
    return parabola_minimum(grid, costs), costs[best, np.arange(len(sharp))]


def parabola_minimum(grid: Double, costs: Double) -> Double:
    """Minimum `[N]` of the parabola through the lowest of costs `[G, N]` and its neighbours."""
    middle = np.clip(costs.argmin(axis=0), 1, len(grid) - 2)
    each = np.arange(costs.shape[1])
    low, mid, high = (costs[middle + d, each] for d in (-1, 0, 1))
    left, right = grid[middle] - grid[middle - 1], grid[middle + 1] - grid[middle]
    slope = (mid - low) / left, (high - mid) / right
    curvature = (slope[1] - slope[0]) / (left + right)
    turn = grid[middle] - left / 2 - slope[0] / np.maximum(2 * curvature, 1e-30)
    turn = np.clip(turn, grid[middle - 1], grid[middle + 1])
    return np.asarray(np.where(curvature > 0, turn, grid[costs.argmin(axis=0)]), dtype=np.float64)


def disc_grid(largest_px: float) -> Double:
    """Diameters of discs to try [px]: closer together where they are small."""
    grid = [0.0]
    while grid[-1] < largest_px:
        grid.append(max(grid[-1] + DISC_STEP_PX, grid[-1] * DISC_RATIO))
    return np.array([*grid, grid[-1] * DISC_RATIO])


def window_shifts(
    sharp: Float, target: Float, weight: Float, discs_px: Double
) -> tuple[Double, Double]:
    """Shift of each target against its blurred patch, by least squares.

    Args:
        sharp: `[N, L, L]` sharp patches with a margin.
        target: `[N, w, w]` blurred ones without it.
        weight: `[N, w, w]`.
        discs_px: `[N]` diameters of the blur.

    Returns:
        `[N, 2]` (x, y) [px], such that target(x) is blurred(x + shift); `[N]` correlation there.
    """
    side, margin = sharp.shape[-1], (sharp.shape[-1] - target.shape[-1]) // 2
    inner = slice(margin, side - margin)
    spectrum = fft.rfft2(sharp) * disc_transfer(side, discs_px).astype(np.float32)
    v, u = fft.fftfreq(side)[:, None], fft.rfftfreq(side)[None]
    shift = np.zeros((len(sharp), 2))
    correlation = np.zeros(len(sharp))
    for step in range(SHIFT_STEPS + 1):
        phase = np.exp(2j * np.pi * (u * shift[:, :1, None] + v * shift[:, 1:, None]))
        moved = spectrum * phase.astype(np.complex64)
        parts = [moved, moved * (2j * np.pi * u), moved * (2j * np.pi * v)]
        model, dx, dy = (fft.irfft2(x, s=(side, side))[:, inner, inner] for x in parts)
        _, _, left = fit_gain(model, target, weight)
        _, _, all_ = fit_gain(np.zeros_like(model), target, weight)
        correlation = np.sqrt(np.clip(1 - left / np.maximum(all_, 1e-12), 0, 1))
        if step == SHIFT_STEPS:
            break
        design = np.stack([model, np.ones_like(model), dx, dy], axis=1).reshape(len(sharp), 4, -1)
        w = weight.reshape(len(sharp), 1, -1)
        normal = np.einsum("nip,njp->nij", design * w, design, dtype=np.float64)
        right = np.einsum("nip,np->ni", design * w, target.reshape(len(sharp), -1))
        normal += np.eye(4) * (1e-6 * np.trace(normal, axis1=1, axis2=2)[:, None, None] + 1e-12)
        solved = np.linalg.solve(normal, right[..., None])[..., 0]
        gain = np.where(np.abs(solved[:, 0]) > 1e-3, solved[:, 0], np.inf)
        shift += np.clip(solved[:, 2:] / gain[:, None], -MAX_STEP_PX, MAX_STEP_PX)
    return shift, correlation


def coarse_shift(sharp: Float, blurred: Float) -> Double:
    """Shift (x, y) of the whole picture [px]: blurred(x) shows what sharp(x + shift) does."""
    from skimage.registration import phase_cross_correlation

    low, high = ([ndimage.gaussian_filter(x, sd) for sd in COARSE_SD_PX] for x in (sharp, blurred))
    pictures = [band[0] - band[1] for band in (low, high)]
    window = np.outer(*(np.hanning(n) for n in sharp.shape))
    found: Double = phase_cross_correlation(  # type: ignore[no-untyped-call]
        pictures[0] * window, pictures[1] * window, upsample_factor=4, normalization=None
    )[0]
    return np.asarray(found[::-1], dtype=np.float64)


def register(
    sharp: Float,
    blurred: Float,
    largest_px: float,
    window_px: int,
    name: str = "the pair",
    start: Double | None = None,
) -> Registration:
    """Register a sharp photo `[3, H, W]` to a blurred one.

    Args:
        sharp: Linear light of the sharp photo.
        blurred: Of the blurred one.
        largest_px: Largest disc of blur that is tried.
        window_px: Side of the windows.
        name: Of the pair, for the error.
        start: Affine map `[2, 3]` to begin with; None: the shift of the whole picture.

    Raises:
        CaptureError: If the photos do not show the same.
    """
    matrix = start
    if matrix is None:
        matrix = np.column_stack([np.eye(2), coarse_shift(sharp[GREEN], blurred[GREEN])])
    margin = int(np.ceil(largest_px / 2)) + 4
    height, width = blurred.shape[1:]
    places = window_places((height, width), window_px)
    centres: Double = (places[:, ::-1] + (window_px - 1) / 2).astype(np.float64)  # (x, y)
    target = cut(blurred[GREEN], places, window_px)
    for _ in range(AFFINE_STEPS):
        warped = Registration(matrix, 0.0, 0.0, 0.0).warp(sharp[GREEN : GREEN + 1], margin)[0]
        patches = cut(warped, places, window_px + 2 * margin)
        known = np.asarray(np.isfinite(patches).all(axis=(1, 2)))
        patches = np.nan_to_num(patches)
        weight = np.broadcast_to(known[:, None, None], target.shape).astype(np.float32)
        discs, _ = best_discs(patches, target, weight, largest_px)
        shifts, correlation = window_shifts(patches, target, weight, discs)
        texture = target.std(axis=(1, 2), dtype=np.float64) * correlation**2 * known
        textured = known & (target.std(axis=(1, 2)) > MIN_CONTRAST * target.mean(axis=(1, 2)))
        good = (correlation > MIN_CORRELATION) & known
        needed = max(MIN_WINDOWS, MIN_SHARE * textured.sum())
        if good.sum() < needed:
            found = f"{int(good.sum())} of {int(textured.sum())} textured windows alike"
            raise _unlike(name, found, f"at least {int(np.ceil(needed))}")
        change, residual = _affine(centres[good], shifts[good], texture[good].astype(np.float64))
        most_px = MOST_RESIDUAL[0] + MOST_RESIDUAL[1] * float(np.median(discs[good]))
        if residual > most_px:
            found = f"shifts of {residual:.1f} px (median) that no movement of the camera explains"
            raise _unlike(name, found, f"at most {most_px:.1f} px")
        matrix = matrix @ np.vstack([change, [0.0, 0.0, 1.0]])
    return Registration(
        matrix, residual, float(np.median(correlation[good])), float(np.median(discs[good]))
    )


def _unlike(name: str, found: str, expected: str) -> CaptureError:
    return CaptureError(
        f"the two photos of {name} do not show the same, or no texture",
        got=found,
        expected=expected,
        todo="Take both from the tripod, of something flat with texture; change nothing but "
        "aperture and exposure time between them.",
    )


def _affine(centres: Double, shifts: Double, weight: NDArray[np.floating]) -> tuple[Double, float]:
    """Affine map `[2, 3]` through shifts of windows, and their median deviation [px]."""
    middle, scale = centres.mean(axis=0), max(float(np.ptp(centres, axis=0).max()), 1.0)
    design = np.column_stack([(centres - middle) / scale, np.ones(len(centres))])
    if len(centres) < 2 * MIN_WINDOWS:
        design[:, :2] = 0.0  # a shift only
    each = weight.copy()
    for _ in range(REWEIGHTINGS):
        root = np.sqrt(each)[:, None]
        solved = np.linalg.lstsq(design * root, shifts * root, rcond=None)[0]
        away = np.linalg.norm(shifts - design @ solved, axis=1)
        each = weight / np.maximum(1.0, away / OUTLIER_PX) ** 2
    linear = solved[:2].T / scale
    shift = solved[2] - linear @ middle
    return np.column_stack([np.eye(2) + linear, shift]), float(np.median(away))


def window_places(size: tuple[int, int], window_px: int) -> NDArray[np.int64]:
    """Upper left corners `[N, 2]` (row, column) of windows that cover a picture edge to edge."""
    rows, cols = (
        np.linspace(0, length - window_px, max(1, round(length / window_px))).round().astype(int)
        for length in size
    )
    return np.stack(np.meshgrid(rows, cols, indexing="ij"), axis=-1).reshape(-1, 2)


def cut(picture: Float, places: NDArray[np.int64], side: int) -> Float:
    """Patches `[N, ..., side, side]` of `[..., H, W]` at upper left corners `[N, 2]`."""
    return np.stack([picture[..., y : y + side, x : x + side] for y, x in places.tolist()])


def lateral_shifts(sharp: Float, weight: Float, colour: int) -> Double:
    """Shift `[N, 2]` (x, y) [px] at which green shows what a colour of sharp windows shows.

    Args:
        sharp: `[N, 3, L, L]` sharp patches with a margin.
        weight: `[N, 3, w, w]`.
        colour: 0 red, 2 blue.
    """
    margin = (sharp.shape[-1] - weight.shape[-1]) // 2
    inner = slice(margin, sharp.shape[-1] - margin)
    target = sharp[:, colour, inner, inner]
    none = np.zeros(len(sharp))
    return window_shifts(sharp[:, GREEN], target, weight[:, colour], none)[0]
