"""The terms by which blur of photos differs from that of the photos that training held out.

Measures of windows (`captures.blur_spectra`) are averaged over held-out photos by predicted
distance and place on the sensor: the curves of a model's card. How photos differ from the curves is
fitted by a few terms for all photos together, with errors clustered by photo, since the windows of
one are not independent (Liang and Zeger, Longitudinal data analysis using generalized linear
models, 1986).
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from rangefinder.camera import Camera
from rangefinder.captures.blur_spectra import (
    COLOURS,
    WINDOW_PX,
    BlurSpectra,
    Measured,
    blur_spectra,
)
from rangefinder.config import Device
from rangefinder.coordinates import Placement, sensor_location
from rangefinder.inference.interface import DISTANCE_ONLY, PhotoPredictor
from rangefinder.models.card import Card
from rangefinder.models.drift_reference import DriftReference, Estimate
from rangefinder.models.prediction import Float

if TYPE_CHECKING:
    from rangefinder.captures.manifest import CaptureSet
    from rangefinder.models.model_files import TrainedModel

log = logging.getLogger(__name__)
Array = NDArray[np.float64]
LEAST_REFERENCE = 20  # held-out photos, below which no drift reference is kept
FOLDS = 8  # of the held-out photos
STEPS = 14  # of the curves, in inverse distance
ZONES = (0.35, 0.6, 0.8)  # radii between the zones of the curves [half diagonals]
SMOOTHING = 0.7  # sd of the kernel that smooths a curve [steps]
USUAL_BLUR_PX2 = 0.225  # residual of a window from which it counts less (Huber, 1964)
LEAST_RADIUS = 0.25  # nearer to the optical centre than this no direction is radial
MEAN_SQUARE_RADIUS = 0.35  # of places on a sensor
SHARES = {"near": 0.9, "middle": 0.5, "far": 0.1}  # quantiles of inverse distance in a photo
SCENES = "distance"
BLUR_TERMS = ("level", "defocus", "radial", "radial_defocus")
SHIFT_TERMS = ("x", "y", "magnification")
DIRECTION_TERMS = ("centre_x", "centre_y", "strength")


@dataclass(frozen=True)
class View:
    """What one photo shows of the lens, by window."""

    spectra: BlurSpectra
    inverse_dpt: Array  # `[N]` predicted
    location: Array  # `[2, N]` on the sensor

    @classmethod
    def of(cls, light: Float, placement: Placement, distance_m: Float, camera: Camera) -> View:
        """Of a photo `[3, H, W]` and its predicted distances `[H, W]`."""
        spectra = blur_spectra(light, placement)
        offsets = np.array([-WINDOW_PX, 0, WINDOW_PX]) // 4
        rows, cols = (
            ((centre[:, None] + offsets) / placement.scale).astype(int).clip(0, size - 1)
            for centre, size in zip((spectra.y_px, spectra.x_px), distance_m.shape, strict=True)
        )
        around = distance_m[rows[:, None, :, None], cols[:, None, :]]
        nearby = around.reshape(len(rows) * len(cols), offsets.size**2)
        at_scale = Placement(placement.origin_px)
        location = sensor_location(camera, at_scale, spectra.x_px, spectra.y_px)
        return cls(spectra, 1 / np.median(nearby, axis=1), location.reshape(2, -1).astype(float))


@dataclass(frozen=True)
class Curves:
    """The measures of held-out photos, by predicted distance and place."""

    edges_dpt: Array
    tables: Mapping[str, Array]  # `[STEPS, zones]`

    @classmethod
    def of(cls, card: Card, reference: DriftReference) -> Curves:
        """The curves of a reference."""
        tables = {name: np.array(table) for name, table in reference.curves.items()}
        return cls(_edges_dpt(card), tables)

    @classmethod
    def fit(cls, card: Card, views: Sequence[View]) -> Curves:
        """Medians over photos; displacements have no curve, they are compared as they are."""
        edges = _edges_dpt(card)
        names = [f"{colour}_blur" for colour in COLOURS] + ["direction"]
        return cls(edges, {name: _table(edges, views, name) for name in names})

    def __call__(self, name: str, view: View) -> Array:
        """Expected values `[N]`; of `direction` the radial component."""
        step = self.edges_dpt[1] - self.edges_dpt[0]
        place = ((view.inverse_dpt - self.edges_dpt[0]) / step - 0.5).clip(0, STEPS - 1)
        index = np.minimum(place.astype(int), STEPS - 2)
        share, zone, table = place - index, _zones(view), self.tables[name]
        return np.asarray(table[index, zone] * (1 - share) + table[index + 1, zone] * share)

    def slope(self, name: str) -> float:
        """By how much the measure grows with inverse distance [its unit per dioptre]."""
        middle = (self.edges_dpt[1:] + self.edges_dpt[:-1]) / 2
        return float(np.polyfit(middle, self.tables[name].mean(axis=1), 1)[0])


def _edges_dpt(card: Card) -> Array:
    return np.linspace(*card.prediction.inverse_range_dpt, STEPS + 1)


def _zones(view: View) -> NDArray[np.intp]:
    return np.digitize(np.hypot(*view.location), ZONES)


def _radial(view: View) -> Array:
    """Cosine and sine `[2, N]` of twice the angle of places around the optical centre."""
    x, y = view.location
    squared = np.maximum(x**2 + y**2, LEAST_RADIUS**2)
    return np.asarray(np.stack([x**2 - y**2, 2 * x * y]) / squared)


def _table(edges: Array, views: Sequence[View], name: str) -> Array:
    """Weighted medians by inverse distance and zone, smoothed over inverse distance."""
    known = [view for view in views if name in view.spectra.measures]
    if not known:
        return np.zeros((STEPS, len(ZONES) + 1))
    measured = [view.spectra.measures[name] for view in known]
    values = np.concatenate([_scalar(m, v) for m, v in zip(measured, known, strict=True)])
    weight = np.concatenate([one.weight for one in measured])
    steps = np.digitize(np.concatenate([view.inverse_dpt for view in known]), edges[1:-1])
    zones = np.concatenate([_zones(view) for view in known])
    table, total = np.zeros((2, STEPS, len(ZONES) + 1))
    for cell in np.ndindex(table.shape):
        inside = (steps == cell[0]) & (zones == cell[1]) & (weight > 0)
        if inside.any():
            one, its = values[inside], weight[inside]
            table[cell] = np.quantile(one, 0.5, weights=its, method="inverted_cdf")
            total[cell] = weight[inside].sum()
    number = np.arange(STEPS)
    kernel = np.exp(-0.5 * ((number - number[:, None]) / SMOOTHING) ** 2)
    return np.asarray((kernel @ (table * total)) / np.maximum(kernel @ total, 1e-9))


def _scalar(measured: Measured, view: View) -> Array:
    """The one component of a measure, or the radial one of two `[N]`."""
    if len(measured.values) == 1:
        return np.asarray(measured.values[0])
    return np.asarray((measured.values * _radial(view)).sum(axis=0))


@dataclass(frozen=True)
class Sums:
    """Normal equations of the terms of one measure in one photo."""

    terms: tuple[str, ...]
    left: Array  # `[P, P]`
    right: Array  # `[P]`

    @classmethod
    def of(cls, terms: tuple[str, ...], design: Array, values: Array, weight: Array) -> Sums:
        """Of a design `[P, K, N]`, values `[K, N]` and weights `[N]`."""
        weighted = design * weight
        left = np.einsum("pkn,qkn->pq", weighted, design)
        return cls(terms, left, np.einsum("pkn,kn->p", weighted, values))


PhotoSums = Mapping[str, Sums]


def photo_sums(view: View, curves: Curves, focus_dpt: float) -> PhotoSums:
    """What a photo adds to the statistics, by measure."""
    found = {}
    for name, measured in view.spectra.measures.items():
        if name.endswith("_blur"):
            found[name] = _blur_sums(measured, view, curves(name, view), focus_dpt)
        elif name.endswith("_shift"):
            found[name] = _shift_sums(measured, view)
        else:
            found[name] = _direction_sums(measured, view, curves(name, view))
    if len(view.inverse_dpt):
        quantiles = np.quantile(view.inverse_dpt, list(SHARES.values()))
        found[SCENES] = Sums(tuple(SHARES), np.eye(len(SHARES)), quantiles)
    return found


def _blur_sums(measured: Measured, view: View, expected: Array, focus_dpt: float) -> Sums:
    residual = measured.values - expected
    weight = measured.weight * np.minimum(
        1.0, USUAL_BLUR_PX2 / np.maximum(np.abs(residual[0]), 1e-9)
    )
    defocus = view.inverse_dpt - focus_dpt
    radial = (view.location**2).sum(axis=0) - MEAN_SQUARE_RADIUS
    design = np.stack([np.ones_like(defocus), defocus, radial, radial * defocus])
    return Sums.of(BLUR_TERMS, design[:, None], residual, weight)


def _shift_sums(measured: Measured, view: View) -> Sums:
    one, none = np.ones_like(view.inverse_dpt), np.zeros_like(view.inverse_dpt)
    design = np.stack([np.stack([one, none]), np.stack([none, one]), view.location])
    return Sums.of(SHIFT_TERMS, design, measured.values, measured.weight)


def _direction_sums(measured: Measured, view: View, expected: Array) -> Sums:
    """Moving the optical centre changes the pattern A r^2 (cos 2 phi, sin 2 phi) by its slopes."""
    x, y = view.location
    slope = 2 * expected / np.maximum(np.hypot(x, y), LEAST_RADIUS) ** 2
    centre_x, centre_y = np.stack([-slope * x, -slope * y]), np.stack([slope * y, -slope * x])
    design = np.stack([centre_x, centre_y, expected * _radial(view)])
    return Sums.of(DIRECTION_TERMS, design, measured.values, measured.weight)


def estimates(photos: Iterable[PhotoSums]) -> dict[str, Estimate]:
    """Terms fitted to all photos, with errors that are clustered by photo."""
    by_measure: dict[str, list[Sums]] = {}
    for photo in photos:
        for name, sums in photo.items():
            if sums.left.any():
                by_measure.setdefault(name, []).append(sums)
    found = {}
    for name, every in by_measure.items():
        terms, count = every[0].terms, len(every)
        if count <= len(terms):
            continue
        left, right = np.stack([one.left for one in every]), np.stack([one.right for one in every])
        inverse = np.linalg.pinv(left.sum(axis=0), rcond=1e-9, hermitian=True)
        fitted = inverse @ right.sum(axis=0)
        scores = right - left @ fitted
        spread = inverse @ (scores.T @ scores) @ inverse * count / (count - len(terms))
        for term, value, variance in zip(terms, fitted, np.diag(spread), strict=True):
            se = float(np.sqrt(max(variance, 0.0)))
            found[f"{name}.{term}"] = Estimate(value=float(value), se=se, photos=count)
    return found


def drift_reference(predictor: PhotoPredictor, captures: CaptureSet) -> DriftReference | None:
    """The drift reference, from captures that a model was not trained on.

    Args:
        predictor: The model; its predictions are compared later with those of the same model.
        captures: Held-out ones; where there are few, None is returned.
    """
    from tqdm import tqdm

    if len(captures) < LEAST_REFERENCE:
        log.info(
            "No drift reference is kept: %d captures are held out for validation, not %d",
            len(captures),
            LEAST_REFERENCE,
        )
        return None
    card, views = predictor.card, []
    for index in tqdm(range(len(captures)), "recording blur", unit="photo", disable=None):
        light, placement = captures.image(index).numpy(), captures.placement(index)
        distance_m = predictor.posterior(light, placement).decode(DISTANCE_ONLY).distance_m
        views.append(View.of(light, placement, distance_m, card.camera))
    curves = Curves.fit(card, views)
    tables = {name: tuple(map(tuple, table.tolist())) for name, table in curves.tables.items()}
    return DriftReference(curves=tables, estimates=estimates(_cross_fitted(card, views)))


def _cross_fitted(card: Card, views: Sequence[View]) -> Iterator[PhotoSums]:
    """What photos add to the statistics, with curves of other photos, as new ones will have."""
    for fold in range(FOLDS):
        others = [view for number, view in enumerate(views) if number % FOLDS != fold]
        curves = Curves.fit(card, others)
        for view in views[fold::FOLDS]:
            yield photo_sums(view, curves, 1 / card.camera.focus_distance_m)


def with_drift_reference(
    model: TrainedModel, captures: CaptureSet, device: Device = "auto"
) -> TrainedModel:
    """The same network with a card that drift can be measured against; see `drift_reference`."""
    from rangefinder.inference.predictor import Predictor
    from rangefinder.models.model_files import TrainedModel

    reference = drift_reference(Predictor(model, device), captures)
    return TrainedModel(model.network, model.card.model_copy(update={"drift": reference}))
