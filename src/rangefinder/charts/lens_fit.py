"""Fit of a parametric lens to windows of pairs of photos, all at once.

A sharp photo has a little blur of its own. So the blurred photo B is not compared with the sharp
one S through one kernel, but both through the other's: k_sharp * B = gain k_blurred * S + offset
(cross relation: Liu, Xu and Tong's blind channel identification, here with modelled kernels). Gain
and offset are free in each window and colour (variable projection: Golub and Pereyra, 1973); what
gains have in common over photos is vignetting.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy import fft
from scipy.optimize import least_squares

from rangefinder.camera import Camera
from rangefinder.charts.pair_windows import PINHOLE, Windows
from rangefinder.charts.registration import GREEN, fit_gain
from rangefinder.config import BankParams
from rangefinder.optics.blur import nearest_focus_m
from rangefinder.optics.lens_model import (
    FIT_RAYS,
    NAMES,
    OF_COLOUR,
    LensModel,
    LensShape,
    Points,
    prior_sd,
)
from rangefinder.optics.psf_tracing import Sampling

Float = NDArray[np.float32]
Double = NDArray[np.float64]
COLOURS = (0, 1, 2)
MODEL_ERROR = 0.02  # of a window's contrast: what no kernel explains
GAIN_ERROR = 0.03  # sd of the logarithm of a window's gain: light changes between photos
MOST_WINDOWS = 240  # that the model is fitted to
MOST_RESIDUALS = 400_000
INDEPENDENT = 200  # residuals that a pair counts as: what no model has errs alike all over a photo
MOST_SD = 4.0  # prior standard deviations that a parameter may be away from the record
MOST_STEPS = 15  # evaluations of the fit
STEP = 0.02  # of a parameter's prior, for derivatives
DISC_ERROR_PX = 0.3  # sd of a measured disc, where the fit begins
STARTS = (0.85, 0.92, 1.0, 1.09, 1.2)  # of the record's focus distance
SHARP_REACH = 0.75  # of a stopped-down kernel [its blur diameter]
FIXED = ("red_px", "blue_px")  # lateral colour is the same in both photos
SURPRISING_SD = 3.0  # prior standard deviations from the record beyond which something is wrong
LEAST_NARROWED = 0.7  # posterior / prior sd above which photos tell nothing of a parameter


@dataclass(frozen=True)
class LensFit:
    """A fitted lens."""

    model: LensModel
    sd: dict[str, float]  # posterior standard deviation of each parameter
    prior: dict[str, float]  # prior standard deviation of each
    correlation: Double  # `[P, P]` of the parameters, in the order of `sd`
    unexplained: float  # root mean square residual / contrast of the blurred windows

    @property
    def open_parameters(self) -> list[str]:
        """Parameters that the photos tell next to nothing about."""
        return [name for name in self.sd if self.sd[name] > LEAST_NARROWED * self.prior[name]]

    @property
    def surprising(self) -> list[str]:
        """Parameters that are far from what the camera record makes likely."""
        mean, found = LensShape.of(self.model.record), self.model.shape
        away = {name: abs(getattr(found, name) - getattr(mean, name)) for name in self.sd}
        return [name for name in self.sd if away[name] > SURPRISING_SD * self.prior[name]]


class CrossRelation:
    """Residuals of windows under models of one camera."""

    def __init__(self, windows: Windows, record: Camera, params: BankParams) -> None:
        self.windows, self.record = windows, record
        self.side = windows.sharp.shape[-1]
        self.inner = slice(windows.margin_px, self.side - windows.margin_px)
        self.sharp = fft.rfft2(windows.sharp)
        self.blurred = fft.rfft2(windows.blurred)
        self.kernel_px = 2 * windows.margin_px + 1
        sized = params.model_copy(update={"kernel_px": self.kernel_px})
        self.response = Sampling.of(record, sized).response
        contrast = windows.blurred[..., self.inner, self.inner].std(axis=(2, 3))
        self.contrast = np.maximum(contrast, 1e-6).astype(np.float64)
        self.scale = np.sqrt(windows.noise**2 + (MODEL_ERROR * self.contrast) ** 2)
        self.scale[~windows.reliable] = np.inf
        sizes = np.bincount(windows.pair)[windows.pair] * len(COLOURS)
        self.pair_weight = np.sqrt(INDEPENDENT / sizes)

    def points(self, colour: int) -> Points:
        """Object points in the middle of the windows."""
        place = self.windows.place_px
        radius = np.hypot(*place.T) / self.record.half_diagonal_px
        colours = np.full(len(radius), colour)
        return Points(self.windows.distance_m, radius, np.arctan2(*place.T[::-1]), colours)

    def kernels(self, model: LensModel, colour: int) -> tuple[Double, Double, Double]:
        """Kernels `[N, k, k]` of the blurred and the sharp photos; log of their light's ratio."""
        points = self.points(colour)
        stop = model.shape.f_number / np.maximum(self.windows.sharp_f_number, 1e-3)
        stop = np.clip(stop, 1e-3, 1.0)
        blurred, light = model.kernels(points, self.response, 1.0, FIT_RAYS)
        sharp, sharp_light = model.kernels(points, self.response, stop, FIT_RAYS // 8)
        ratio = np.log(np.maximum(light, 1e-6) / np.maximum(sharp_light / stop**2, 1e-6))
        return blurred, sharp, ratio

    def through(self, spectra: NDArray[np.complexfloating], kernels: Double) -> Float:
        """Windows `[N, w, w]` of spectra blurred by kernels `[N, k, k]`."""
        padded = np.zeros((len(kernels), self.side, self.side), dtype=np.float32)
        padded[:, : self.kernel_px, : self.kernel_px] = kernels
        padded = np.roll(padded, (-(self.kernel_px // 2),) * 2, axis=(1, 2))
        blurred = fft.irfft2(fft.rfft2(padded) * spectra, s=(self.side, self.side))
        return np.asarray(blurred[:, self.inner, self.inner])

    def compare(
        self, blurred: Double, sharp: Double, colour: int
    ) -> tuple[Float, Double, Double, Double]:
        """Residual `[N, w, w]` of kernels, `[N]` gain, mean squared residual, contrast of B."""
        weight = self.windows.weight[:, colour]
        model = self.through(self.sharp[:, colour], blurred)
        target = self.through(self.blurred[:, colour], sharp)
        gain, offset, square = fit_gain(model, target, weight)
        left = target - gain[:, None, None] * model - offset[:, None, None]
        kept = target.std(axis=(1, 2)).astype(np.float64)
        return np.asarray(left * weight, dtype=np.float32), gain, square, kept

    def residual(self, model: LensModel, colour: int, stride: int) -> Double:
        """Normalised residuals of one colour, of every `stride`-th pixel, and of gains."""
        blurred, sharp, ratio = self.kernels(model, colour)
        left, gain, _, kept = self.compare(blurred, sharp, colour)
        scale = self.scale[:, colour]
        # A wide sharp kernel would leave nothing to compare: what it takes from B is given back.
        lowered = np.clip(kept / self.contrast[:, colour], 0.05, 1.0)
        pixels = left[:, ::stride, ::stride] / (scale * lowered)[:, None, None]
        pixels *= self.pair_weight[:, None, None] / pixels[0].size ** 0.5
        light = np.log(np.clip(gain, 1e-3, 1e3)) + self.windows.log_level[:, colour]
        found = [pixels.ravel(), self._gains(light - ratio, np.isfinite(scale))]
        return soft_l1(np.concatenate(found))

    def _gains(self, deviation: Double, reliable: NDArray[np.bool_]) -> Double:
        """Normalised deviation of windows' light from vignetting, each photo's level being free.

        None where a drawing is the reference: lamps light sheets unevenly.
        """
        pairs = self.windows.pair
        result = np.zeros(len(deviation))
        for pair in np.unique(pairs):
            here = (pairs == pair) & reliable & (self.windows.sharp_f_number < PINHOLE)
            if here.any():
                result[here] = (deviation[here] - np.median(deviation[here])) / GAIN_ERROR
        return result


def soft_l1(residual: Double) -> Double:
    """Residuals whose squares are those of the soft L1 loss: the tails count less."""
    root = np.sqrt(2 * (np.sqrt(1 + residual**2) - 1))
    return np.asarray(np.sign(residual) * root)


def first_shape(windows: Windows, record: Camera) -> LensShape:
    """f-number, focus and offset of the thin lens that fits the measured green discs best.

    Begins on both sides of the record's focus: discs alone do not tell before from behind.
    """
    start, sd = LensShape.of(record), prior_sd(record)
    discs, distance = windows.discs_px[:, GREEN], windows.distance_m
    stop = windows.sharp_f_number
    names = ("f_number", "focus_dpt", "distance_offset_m")
    middle = np.hypot(*windows.place_px.T) < 0.6 * record.half_diagonal_px
    middle = middle if len(np.unique(distance[middle])) > 1 else np.ones_like(middle)

    def residual(values: Double) -> Double:
        shape = replace(start, **dict(zip(names, values * scale + base, strict=True)))
        model = LensModel(record, shape)
        blur = np.abs(model.blur_px(distance))
        cross = np.sqrt(np.maximum(1 - (shape.f_number / stop) ** 2, 0.0))
        deviation = ((blur * cross - discs) / DISC_ERROR_PX)[middle]
        return np.concatenate([soft_l1(deviation), values])

    base = np.array([getattr(start, name) for name in names])
    scale = np.array([getattr(sd, name) for name in names])
    best = None
    for factor in STARTS:
        begin = np.array([0.0, (base[1] / factor - base[1]) / scale[1], 0.0])
        found = least_squares(residual, begin)
        if best is None or found.cost < best.cost:
            best = found
    assert best is not None
    return replace(start, **dict(zip(names, best.x * scale + base, strict=True)))


def choose_windows(windows: Windows, most: int, seed: int = 0) -> Windows:
    """At most so many windows, as many of each pair as of every other."""
    if len(windows) <= most:
        return windows
    generator = np.random.default_rng(seed)
    order = generator.permutation(len(windows))
    rank = np.empty(len(windows))
    for pair in np.unique(windows.pair):
        here = order[windows.pair[order] == pair]
        rank[here] = np.arange(len(here))
    return windows.take(np.sort(np.argsort(rank, kind="stable")[:most]))


def fit_lens(
    relation: CrossRelation, start: LensShape, names: Sequence[str] | None = None
) -> LensFit:
    """The lens that explains windows best, with a prior around the camera record.

    Args:
        relation: Of the windows.
        start: Where to begin.
        names: Parameters to fit; None: all that pairs show.
    """
    unknowns = _Unknowns(relation, start, [n for n in names or NAMES if n not in FIXED])
    limits = (-MOST_SD, MOST_SD)
    first = np.clip(unknowns.values_of(start), 0.99 * limits[0], 0.99 * limits[1])
    found = least_squares(
        unknowns.residual,
        first,
        unknowns.jacobian,
        limits,
        x_scale=1.0,
        ftol=1e-3,
        xtol=1e-3,
        max_nfev=MOST_STEPS,
    )
    covariance = np.linalg.inv(found.jac.T @ found.jac)
    deviation = np.sqrt(np.diag(covariance))
    model, names = unknowns.model(found.x), unknowns.names
    return LensFit(
        model=model,
        sd=dict(zip(names, (deviation * unknowns.scale).tolist(), strict=True)),
        prior=dict(zip(names, unknowns.scale.tolist(), strict=True)),
        correlation=covariance / np.outer(deviation, deviation),
        unexplained=unexplained(relation, model),
    )


class _Unknowns:
    """Parameters that are fitted, in standard deviations of their priors from the record."""

    def __init__(self, relation: CrossRelation, begin: LensShape, names: list[str]) -> None:
        self.relation, self.begin, self.names = relation, begin, names
        record, windows = relation.record, relation.windows
        mean, sd = LensShape.of(record), prior_sd(record)
        self.centre = np.array([getattr(mean, name) for name in names])
        self.scale = np.array([getattr(sd, name) for name in names])
        self.most_dpt = 0.999 / max(nearest_focus_m(record), 1e-3)
        pixels = windows.window_px**2 * len(windows) * len(COLOURS)
        self.stride = max(1, round((pixels / MOST_RESIDUALS) ** 0.5))

    def values_of(self, shape: LensShape) -> Double:
        """The unknowns of a shape."""
        found = np.array([getattr(shape, name) for name in self.names])
        return np.asarray((found - self.centre) / self.scale)

    def model(self, values: Double) -> LensModel:
        """The lens of some unknowns."""
        named = zip(self.names, (values * self.scale + self.centre).tolist(), strict=True)
        model = LensModel(self.relation.record, self.begin).with_values(dict(named))
        focus_dpt = float(np.clip(model.shape.focus_dpt, 1e-4, self.most_dpt))
        return model.with_values({"focus_dpt": focus_dpt})

    def parts(self, values: Double) -> list[Double]:
        """Residuals by colour."""
        model = self.model(values)
        return [self.relation.residual(model, colour, self.stride) for colour in COLOURS]

    def residual(self, values: Double) -> Double:
        """Residuals of the photos, and of the priors."""
        return np.concatenate([*self.parts(values), values])

    def jacobian(self, values: Double) -> Double:
        """Derivatives of `residual` by finite differences."""
        here = self.parts(values)
        rows = np.cumsum([0, *(len(part) for part in here)])
        result = np.zeros((rows[-1] + len(values), len(values)))
        result[rows[-1] :] = np.eye(len(values))
        for column, name in enumerate(self.names):
            moved = values.copy()
            moved[column] += STEP
            model = self.model(moved)
            for colour in [OF_COLOUR[name]] if name in OF_COLOUR else COLOURS:
                change = self.relation.residual(model, colour, self.stride) - here[colour]
                result[rows[colour] : rows[colour + 1], column] = change / STEP
        return result


def unexplained(relation: CrossRelation, model: LensModel) -> float:
    """Root mean square residual / contrast of the blurred windows, median over windows."""
    shares = []
    for colour in COLOURS:
        blurred, sharp, _ = relation.kernels(model, colour)
        _, _, square, _ = relation.compare(blurred, sharp, colour)
        good = relation.windows.reliable[:, colour]
        shares.append((np.sqrt(square) / relation.contrast[:, colour])[good])
    return float(np.median(np.concatenate(shares)))
