"""Windows of registered pairs of photos: what a lens is fitted to."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import fft, ndimage

from rangefinder.camera import Camera
from rangefinder.charts.registration import (
    GREEN,
    Registration,
    best_discs,
    cut,
    register,
    window_places,
    window_shifts,
)
from rangefinder.optics.blur import blur_px

Float = NDArray[np.float32]
Double = NDArray[np.float64]
Mask = NDArray[np.bool_]
PINHOLE = 1000.0  # f-number of the sharp photo that a drawing stands for
WINDOW_PX = 64  # side of a window, where the photo is large enough
LEAST_ACROSS = 4  # windows over the height of a small photo
BRIGHT, DARK = 0.98, 3e-4  # of full scale, beyond which a pixel is clipped
BLUR_SLACK = 1.3  # a record's blur may be too small by this factor
KERNEL_SLACK_PX = 4
MIN_KNOWN = 0.3  # share of a window's pixels
MIN_CORRELATION = 0.8  # of a window as blurred by the best disc
MIN_CONTRAST = 0.02  # sd / mean of a blurred window
LOSSY_CONTRAST = 0.2  # of one of a JPEG, whose quantisation takes weak detail away as blur does
EVEN_M = 0.05  # relative spread of distances in an even window
MOST_SHIFT_PX = 2.0  # of a window against the registration of the whole
SHARP_REACH_PX = 2  # of the sharp photo's own blur
SMOOTH = 0.06  # sd of the low frequencies / height of the photo
DEGREE = 4  # of the polynomial of light over the picture
REWEIGHTINGS = 6
IDENTITY = np.eye(2, 3)  # registration of a drawing in its place
LEVEL_RIDGE = 1e-9  # of the fit of light, relative: a sheet covers a part of the picture only
MOST_LEVEL = 4.0  # logarithm of a factor between lights; more lies outside of what they show
IMMERKAER = np.outer([1, -2, 1], [1, -2, 1]) / 6  # noise of sd 1 stays of sd 1


@dataclass(frozen=True)
class Pair:
    """One view blurred and sharp, in the sensor's colours.

    The sharp one is a photo at a small aperture, or what a photo of a printed sheet would show
    without blur; that lies in its place but for a part of a pixel.
    """

    name: str  # of the blurred photo
    blurred: Float  # `[3, H, W]` linear light at the working aperture
    sharp: Float  # `[3, H, W]` stopped down
    clipped: Mask  # `[H, W]` pixels of the blurred photo whose light is not known
    sharp_clipped: Mask  # `[H, W]` of the sharp one
    distance_m: float | Float  # of the flat thing, or `[H, W]`, 0 where it is not known
    sharp_f_number: float
    is_lossy: bool = False  # a photo is of a lossy format

    @property
    def is_printed(self) -> bool:
        """Whether the sharp one is the drawing of a printed sheet."""
        return self.sharp_f_number >= PINHOLE


@dataclass(frozen=True)
class Windows:
    """`N` windows of side w, with margins of `margin_px` around them.

    Attributes:
        noise: Standard deviation of light, by colour.
        discs_px: Disc that blurs the sharp window to the blurred one, by colour.
        reliable: Colours whose disc is worth something.
        log_level: Logarithm of the factor that brought the sharp photo to the light of the blurred.
    """

    sharp: Float  # `[N, 3, L, L]` registered, L = w + 2 margins
    blurred: Float  # `[N, 3, L, L]`
    weight: Float  # `[N, 3, w, w]` 1, or 0 where nothing is known
    place_px: Double  # `[N, 2]` (x, y) of the middle from the optical centre
    distance_m: Double  # `[N]`
    pair: NDArray[np.int64]  # `[N]` index of the pair
    sharp_f_number: Double  # `[N]`
    noise: Double  # `[N, 3]`
    discs_px: Double  # `[N, 3]`
    reliable: Mask  # `[N, 3]`
    log_level: Double  # `[N, 3]`

    def __len__(self) -> int:
        return len(self.distance_m)

    @property
    def window_px(self) -> int:
        """Side of a window."""
        return int(self.weight.shape[-1])

    @property
    def margin_px(self) -> int:
        """Margin around it."""
        return int(self.sharp.shape[-1] - self.window_px) // 2

    def take(self, chosen: NDArray[np.int64] | Mask) -> Windows:
        """Some of the windows."""
        return Windows(**{name: value[chosen] for name, value in vars(self).items()})

    @classmethod
    def of(cls, parts: Sequence[Windows]) -> Windows:
        """All windows of several pairs."""
        names = vars(parts[0])
        return cls(**{name: np.concatenate([getattr(x, name) for x in parts]) for name in names})


def window_side(camera: Camera) -> int:
    """Side of the windows [px], even."""
    return min(WINDOW_PX, camera.height_px // LEAST_ACROSS // 2 * 2)


def kernel_margin(camera: Camera, distances_m: Double) -> int:
    """Margin around windows [px]: half the side of the kernels that hold a camera's blur.

    A little more where Fourier transforms are faster then.
    """
    largest_px = float(np.max(blur_px(camera, distances_m)))
    margin, side = int(np.ceil(BLUR_SLACK * largest_px / 2)) + KERNEL_SLACK_PX, window_side(camera)
    while fft.next_fast_len(side + 2 * margin, real=True) != side + 2 * margin:
        margin += 1
    return margin


def pair_windows(
    pair: Pair, index: int, camera: Camera, margin_px: int
) -> tuple[Windows, Registration]:
    """Windows of one pair in which the blur shows, and how the pair was registered.

    Raises:
        CaptureError: If the photos do not show the same.
    """
    side, m = window_side(camera), margin_px
    largest_px = 2.0 * (m - KERNEL_SLACK_PX)
    level = illumination_ratio(pair.sharp, pair.blurred, ~(pair.clipped | pair.sharp_clipped))
    levelled = pair.sharp * np.exp(level).astype(np.float32)
    start = IDENTITY if pair.is_printed else None
    registered = register(levelled, pair.blurred, largest_px, side, pair.name, start)
    places = window_places((pair.clipped.shape[0], pair.clipped.shape[1]), side)
    sharp = registered.warp(levelled, m)
    distance, even = _distances(pair.distance_m, places, side)
    blur = blur_px(camera, np.maximum(distance, 1e-3))
    weight = _known(pair, registered, sharp, places, (side, m), blur)
    padded = np.pad(pair.blurred, ((0, 0), (m, m), (m, m)), mode="reflect")
    patches, targets = (cut(x, places, side + 2 * m) for x in (np.nan_to_num(sharp), padded))
    target = targets[..., m : m + side, m : m + side]
    patches, discs, alike, shifts = _aligned(
        patches, target, weight, largest_px, by_colour=pair.is_printed
    )
    least = LOSSY_CONTRAST if pair.is_lossy else MIN_CONTRAST
    contrast = target.std(axis=(2, 3)) / np.maximum(target.mean(axis=(2, 3)), 1e-6)
    reliable = (alike > MIN_CORRELATION) & (contrast > least)
    good = reliable[:, GREEN] & even & (weight.mean(axis=(1, 2)) > MIN_KNOWN)
    good &= np.hypot(*shifts.T) < MOST_SHIFT_PX
    count, centre = len(places), places[:, ::-1] + side / 2 - np.array(camera.centre_px)
    windows = Windows(
        sharp=patches,
        blurred=targets.astype(np.float32),
        weight=np.repeat(weight[:, None], 3, axis=1),
        place_px=centre.astype(np.float64),
        distance_m=distance,
        pair=np.full(count, index),
        sharp_f_number=np.full(count, pair.sharp_f_number),
        noise=np.tile(_noise(target), (count, 1)),
        discs_px=discs,
        reliable=reliable,
        log_level=level[:, *(places.T + side // 2)].T,
    )
    return windows.take(good), registered


def _known(
    pair: Pair,
    registered: Registration,
    sharp: Float,
    places: NDArray[np.int64],
    window: tuple[int, int],
    blur: Double,
) -> Float:
    """1 for pixels of windows `[N, w, w]` whose light and all that blurs into it are known."""
    side, m = window
    lost = registered.warp(pair.sharp_clipped[None].astype(np.float32), m)[0]
    unknown = ~np.isfinite(sharp).all(axis=0) | (np.nan_to_num(lost, nan=1.0) > 0.1)
    unseen = np.pad(pair.clipped, m, constant_values=True)
    away = [
        cut(ndimage.distance_transform_edt(~mask)[m:-m, m:-m], places, side)
        for mask in (unknown, unseen)
    ]
    reach = np.ceil(BLUR_SLACK * blur / 2) + 2
    known = (away[0] > reach[:, None, None]) & (away[1] > SHARP_REACH_PX)
    return known.astype(np.float32)


def _aligned(
    patches: Float, target: Float, weight: Float, largest_px: float, by_colour: bool
) -> tuple[Float, Double, Double, Double]:
    """Sharp patches `[N, 3, L, L]` moved to their targets `[N, 3, w, w]`.

    All colours together, as photos have the lateral colour of the lens; `by_colour` each alone, as
    drawings have none.

    Returns:
        Moved patches; `[N, 3]` discs between them and their targets, and correlation as blurred by
        these; `[N, 2]` by how much they were moved.
    """
    every = np.repeat(weight, 3, axis=0)
    flat = target.reshape(-1, *target.shape[2:])
    sharp = patches.reshape(-1, *patches.shape[2:])
    discs = best_discs(sharp, flat, every, largest_px)[0].reshape(-1, 3)
    shifts, _ = window_shifts(patches[:, GREEN], target[:, GREEN], weight, discs[:, GREEN])
    if by_colour:
        each = window_shifts(sharp, flat, every, discs.ravel())[0]
        moved = _shifted(sharp[:, None], each).reshape(patches.shape)
    else:
        moved = _shifted(patches, shifts)
    _, alike = window_shifts(moved.reshape(sharp.shape), flat, every, discs.ravel())
    return moved, discs, alike.reshape(-1, 3), shifts


def _noise(target: Float) -> Double:
    """Standard deviation of the noise `[3]` of blurred windows (Immerkaer, 1996), of the calm ones.

    What blur leaves of texture at the finest scale counts as noise too.
    """
    high = ndimage.convolve(target, IMMERKAER[None, None])
    deviation = np.median(np.abs(high), axis=(2, 3)) / 0.6745
    return np.asarray(np.quantile(deviation, 0.1, axis=0), dtype=np.float64)


def illumination_ratio(sharp: Float, blurred: Float, usable: Mask) -> Double:
    """Logarithm `[C, H, W]` of a smooth factor from the light of one photo to that of the other.

    Vignetting changes with the aperture, light with the time of day: a polynomial over the picture,
    fitted to its low frequencies by iteratively reweighted least squares.
    """
    height, width = sharp.shape[1:]
    sd = SMOOTH * min(height, width)
    step = max(1, int(sd / 2))
    share = ndimage.gaussian_filter(usable.astype(np.float32), sd)[::step, ::step].ravel()
    y, x = np.mgrid[-1 : 1 : height * 1j, -1 : 1 : width * 1j]
    terms = [x**i * y**j for i in range(DEGREE + 1) for j in range(DEGREE + 1 - i)]
    design = np.stack([term[::step, ::step].ravel() for term in terms], axis=1)
    result = np.empty((len(sharp), height, width))
    for colour, pictures in enumerate(zip(sharp, blurred, strict=True)):
        smooth = [ndimage.gaussian_filter(p * usable, sd)[::step, ::step].ravel() for p in pictures]
        ratio = np.log(np.maximum(smooth[1], 1e-6) / np.maximum(smooth[0], 1e-6))
        weight = share.copy()
        for _ in range(REWEIGHTINGS):
            normal = design.T @ (design * weight[:, None])
            normal += np.eye(len(terms)) * (LEVEL_RIDGE * np.trace(normal) + 1e-12)
            solved = np.linalg.solve(normal, design.T @ (ratio * weight))
            away = np.abs(ratio - design @ solved)
            weight = share / np.maximum(1.0, away / max(float(np.median(away)), 1e-4)) ** 2
        result[colour] = np.tensordot(solved, np.stack(terms), axes=1)
    return result.clip(-MOST_LEVEL, MOST_LEVEL)


def _distances(
    distance_m: float | Float, places: NDArray[np.int64], side: int
) -> tuple[Double, Mask]:
    """Distance of every window, and whether it is the same all over it."""
    if isinstance(distance_m, float):
        return np.full(len(places), distance_m), np.ones(len(places), dtype=np.bool_)
    patches = cut(distance_m, places, side).reshape(len(places), -1).astype(np.float64)
    patches[patches <= 0] = np.nan
    known = np.isfinite(patches).mean(axis=1) > 0.95
    filled = np.where(known[:, None], patches, 1.0)
    low, middle, high = np.nanquantile(filled, (0.02, 0.5, 0.98), axis=1)
    return middle, known & (high - low < EVEN_M * middle)


def _shifted(patches: Float, shifts: Double) -> Float:
    """Patches `[N, C, L, L]` moved by `[N, 2]` (x, y) [px], by their spectrum."""
    side = patches.shape[-1]
    v, u = fft.fftfreq(side)[:, None], fft.rfftfreq(side)[None]
    x, y = shifts[:, 0, None, None, None], shifts[:, 1, None, None, None]
    phase = np.exp(2j * np.pi * (u * x + v * y)).astype(np.complex64)
    return np.asarray(fft.irfft2(fft.rfft2(patches) * phase, s=(side, side)), dtype=np.float32)
