"""What the spectra of a photo's windows show of the lens, whatever the scene.

How sharp a window is depends on what it shows. These depend on the lens: how much more red and blue
are blurred than green, and how far they are displaced, taken from the cross-spectra of colours (the
transfer function of Bendat and Piersol, Random Data, 2010, whose variance follows from coherence);
and by how much blur differs between directions.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from rangefinder.captures.light import Float, resized
from rangefinder.coordinates import Placement

Array = NDArray[np.float64]
WINDOW_PX = 32  # side of the windows, which do not overlap
MOST_WINDOWS = 1024  # of a photo; more are looked at in part
BANDS = ((0.03, 0.08), (0.08, 0.14), (0.14, 0.2), (0.2, 0.28), (0.28, 0.36))  # [cycles per px]
NOISE_BAND = (0.36, 0.5)
DISPLACED_BELOW = 0.25  # frequencies that displacements are taken from [cycles per px]
DIRECTED_BANDS = ((0.05, 0.1), (0.1, 0.18), (0.18, 0.3))
DIRECTIONS = (0.0, 90.0, 45.0, -45.0)  # of gradients [degrees]
SECTOR = 30.0  # half its width [degrees]
QUIET = 0.03  # quantile of windows that show hardly more than noise
NOISE_FACTOR = 1.15  # mean of noise power / that quantile of its windows
LEAST_SIGNAL = 2.0  # power above noise / noise, from which a band is used
LEAST_COHERENCE = 0.3
TAPERED = 2.2  # Fourier coefficients / independent ones, of a window with a Hann taper
GAIN_SD = 0.05  # of a colour's transfer function that blur does not explain [log]
BLUR_SD = 0.02  # of the difference of blur that the lens does not explain [px^2]
DISPLACED_SD = 0.1  # likewise of displacements [px]
DIRECTED_SD = 0.3  # likewise of the log of power by direction
MOST_DISPLACED = 1.0  # [px]
MOST_DIRECTED = 3.0  # log of power
TINY = 1e-9
RED, GREEN, BLUE = 0, 1, 2
COLOURS = {"red": RED, "blue": BLUE}


@dataclass(frozen=True)
class Measured:
    """One measure of every window.

    Attributes:
        values: `[K, N]`, K components of N windows.
        weight: `[N]` inverse variance; 0 where the window does not show it.
    """

    values: Array
    weight: Array


@dataclass(frozen=True)
class BlurSpectra:
    """Measures of the windows of one photo.

    Attributes:
        x_px: Centres of the columns of windows in the photo, at the scale of the camera.
        y_px: Of their rows; windows are in row-major order.
        measures: `red_blur`, `blue_blur`: variance of the blur less that of green [px^2], one
            component. `red_shift`, `blue_shift`: displacement against green [px], (x, y).
            `direction`: log of power of gradients along x over that along y, and along the falling
            over that along the rising diagonal.
    """

    x_px: Array
    y_px: Array
    measures: Mapping[str, Measured]


def blur_spectra(light: Float, placement: Placement) -> BlurSpectra:
    """Measures of a photo `[3, H, W]` in linear light; there may be no window, if it is small."""
    if placement.scale != 1.0:
        size = round(light.shape[1] * placement.scale), round(light.shape[2] * placement.scale)
        light = resized(light, *size)
    x_px, y_px, windows = _windows(light)
    if not windows.size:
        return BlurSpectra(x_px, y_px, {})
    spectra = np.fft.rfft2(windows).reshape(*windows.shape[:2], -1)
    power = np.abs(spectra) ** 2
    noise = NOISE_FACTOR * np.quantile(power @ _mean(_ring(*NOISE_BAND)), QUIET, axis=1)[:, None]
    found = {"direction": _direction(power[GREEN], noise[GREEN, 0])}
    for name, colour in COLOURS.items():
        cross = spectra[colour] * spectra[GREEN].conj()
        transfer = _Transfer.of(cross, power[colour], power[GREEN], noise[GREEN])
        found[f"{name}_blur"] = transfer.blur()
        found[f"{name}_shift"] = _displacement(cross, transfer)
    return BlurSpectra(x_px, y_px, found)


def _windows(light: Float) -> tuple[Array, Array, Float]:
    """Centres of columns and rows, and tapered windows `[3, N, side, side]` without their mean.

    They are of the square root of light, whose shot noise is the same at every light (Anscombe).
    """
    rows, cols = (np.arange(size // WINDOW_PX) * WINDOW_PX for size in light.shape[1:])
    step = max(1, round((len(rows) * len(cols) / MOST_WINDOWS) ** 0.5))
    rows, cols = rows[::step], cols[::step]
    top, left = (each.ravel() for each in np.meshgrid(rows, cols, indexing="ij"))
    side = np.arange(WINDOW_PX)
    cut = light[:, top[:, None, None] + side[:, None], left[:, None, None] + side]
    windows = np.sqrt(cut.clip(min=0))
    taper = np.hanning(WINDOW_PX + 1)[:-1].astype(np.float32)
    centred = (windows - windows.mean(axis=(2, 3), keepdims=True)) * np.outer(taper, taper)
    return cols + WINDOW_PX / 2, rows + WINDOW_PX / 2, centred


_FY, _FX = (
    each.ravel()
    for each in np.meshgrid(np.fft.fftfreq(WINDOW_PX), np.fft.rfftfreq(WINDOW_PX), indexing="ij")
)
_FREQUENCY = np.hypot(_FX, _FY)  # `[F]` of the coefficients of a window
_TWICE = np.where((_FX > 0) & (_FX < 0.5), 2.0, 1.0)  # those that stand for their conjugates too


def _ring(low: float, high: float) -> Array:
    """Weights `[F]` of the coefficients whose frequencies lie in a band."""
    return np.asarray(_TWICE * ((low <= _FREQUENCY) & (high > _FREQUENCY)))


def _mean(weights: Array) -> Array:
    return np.asarray(weights / weights.sum())


_RINGS = np.stack([_ring(*band) for band in BANDS])
_INDEPENDENT = _RINGS.sum(axis=1) / 2 / TAPERED  # coefficients in each band
_SQUARED = _RINGS @ _FREQUENCY**2 / _RINGS.sum(axis=1)  # mean of squared frequency


@dataclass(frozen=True)
class _Transfer:
    """From green to another colour, `[N, bands]`: log of the gain, its variance, its coherence."""

    log_gain: Array
    variance: Array
    coherence: Array
    is_usable: NDArray[np.bool_]

    @classmethod
    def of(cls, cross: Array, power: Array, green: Array, noise: Array) -> _Transfer:
        """Of the cross-spectrum `[N, F]`, the power spectra and the power of green's noise."""
        mean = (_RINGS / _RINGS.sum(axis=1, keepdims=True)).T
        cross, power, green = np.abs(cross @ mean), power @ mean, green @ mean
        coherence = (cross**2 / np.maximum(power * green, TINY)).clip(1e-4, 0.9999)
        signal = np.maximum(green - noise, TINY)
        variance = (1 - coherence) / (2 * coherence) + (noise / signal) ** 2 / 2
        usable = (signal > LEAST_SIGNAL * noise) & (coherence > LEAST_COHERENCE)
        log_gain = np.log(np.maximum(cross, TINY) / signal)
        return cls(log_gain, variance / _INDEPENDENT, coherence, usable)

    def blur(self) -> Measured:
        """Difference of the variances of blur.

        The transfer function of a blur of variance v is exp(-2 pi^2 v f^2), for small v f^2. Where
        power falls steeply within a band, less than the difference is found.
        """
        weight = np.where(self.is_usable, 1 / (self.variance + GAIN_SD**2), 0.0)
        total = np.maximum(weight.sum(axis=1), TINY)
        middle = (weight @ _SQUARED / total)[:, None]
        spread = (weight * (_SQUARED - middle) ** 2).sum(axis=1)
        slope = (weight * (_SQUARED - middle) * self.log_gain).sum(axis=1)
        is_known = self.is_usable.sum(axis=1) >= 2
        values = np.where(is_known, -slope / np.maximum(spread, TINY) / (2 * np.pi**2), 0.0)
        variance = 1 / np.maximum(spread * (2 * np.pi**2) ** 2, TINY)
        return Measured(values[None], is_known / (variance + BLUR_SD**2))


def _displacement(cross: Array, transfer: _Transfer) -> Measured:
    """Displacement of a colour against green, by the slope of the phase of the cross-spectrum."""
    below = _TWICE * (_FREQUENCY < DISPLACED_BELOW)
    turns = 2 * np.pi * np.stack([_FX, _FY])
    slope = -cross.imag @ (turns * below).T  # `[N, 2]`
    scale = cross.real @ (turns**2 * below).T
    coherence = transfer.coherence[:, 1]
    variance = (1 - coherence) / (2 * coherence * _INDEPENDENT[1]) + DISPLACED_SD**2
    is_known = transfer.is_usable[:, 1] & (scale.min(axis=1) > 0)
    values = (slope / np.maximum(scale, TINY)).clip(-MOST_DISPLACED, MOST_DISPLACED)
    return Measured(np.where(is_known, values.T, 0.0), is_known / variance)


_SECTORS = np.stack(
    [
        _ring(low, high)
        * (np.abs((np.degrees(np.arctan2(_FY, _FX)) - angle + 90) % 180 - 90) <= SECTOR)
        for low, high in DIRECTED_BANDS
        for angle in DIRECTIONS
    ]
)
_IN_SECTOR = _SECTORS.sum(axis=1).reshape(len(DIRECTED_BANDS), -1)[:, 0] / 2 / TAPERED


def _direction(power: Array, noise: float) -> Measured:
    """How power differs between directions."""
    shape = len(power), len(DIRECTED_BANDS), len(DIRECTIONS)
    sectors = power @ (_SECTORS / _SECTORS.sum(axis=1, keepdims=True)).T
    signal = np.maximum(sectors.reshape(shape) - noise, TINY)
    is_usable = (signal > LEAST_SIGNAL * noise).all(axis=2)
    weight = np.where(is_usable, 1 / (2 / _IN_SECTOR + DIRECTED_SD**2), 0.0)
    total = weight.sum(axis=1)
    log_signal = np.log(signal)
    differences = log_signal[..., 0::2] - log_signal[..., 1::2]  # `[N, bands, 2]`
    values = (weight[..., None] * differences).sum(axis=1) / np.maximum(total, TINY)[:, None]
    return Measured(values.T.clip(-MOST_DIRECTED, MOST_DIRECTED), total)
