"""Drift: whether a set of photos is still of the camera that a model was trained on.

A photo says little of its lens that its scene could not have caused. A set does: at one predicted
distance and one place on the sensor, red and blue are blurred and displaced against green as the
lens does it, and blur has the lens's direction, whatever is photographed. These measures
(`captures.blur_spectra`) are averaged over held-out photos by predicted distance and place, and the
curves are kept in the model's card. What new photos differ from them is fitted by a few terms; a
term is compared with that of the held-out photos by a t-test whose variance is over photos, since
the windows of one photo are not independent (cluster-robust: Liang and Zeger, Longitudinal data
analysis using generalized linear models, 1986), and corrected for their number (Holm, A simple
sequentially rejective multiple test procedure, 1979).
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

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
from rangefinder.config import Device, DriftParams
from rangefinder.coordinates import Placement
from rangefinder.errors import CaptureError, ModelError, RangefinderError
from rangefinder.inference.interface import DISTANCE_ONLY, PhotoPredictor
from rangefinder.models.card import Card
from rangefinder.models.drift_reference import DriftReference, Estimate
from rangefinder.models.prediction import Float

if TYPE_CHECKING:
    from rangefinder.captures.manifest import CaptureSet
    from rangefinder.inference.session import Measurement, Session
    from rangefinder.models.model_files import TrainedModel

log = logging.getLogger(__name__)
Array = NDArray[np.float64]
Cause = Literal["encoding", "camera", "lens", "aperture", "decentring"]
LEAST_REFERENCE = 20  # held-out photos, below which a model cannot tell drift
FOLDS = 8  # of the held-out photos
STEPS = 14  # of the curves, in inverse distance
ZONES = (0.35, 0.6, 0.8)  # radii between the zones of the curves [half diagonals]
SMOOTHING = 0.7  # sd of the kernel that smooths a curve [steps]
USUAL_BLUR_PX2 = 0.225  # residual of a window from which it counts less (Huber, 1964)
LEAST_RADIUS = 0.25  # nearer to the optical centre than this no direction is radial
MEAN_SQUARE_RADIUS = 0.35  # of places on a sensor
SHARES = {"near": 0.9, "middle": 0.5, "far": 0.1}  # quantiles of inverse distance in a photo
SCENES = "distance"
OF_SCENES = {"dark"}  # kinds of domain shift that scenes cause too
BLUR_TERMS = ("level", "defocus", "radial", "radial_defocus")
SHIFT_TERMS = ("x", "y", "magnification")
DIRECTION_TERMS = ("centre_x", "centre_y", "strength")
OF_APERTURE = {"level", "defocus", "radial_defocus", "strength"}  # terms that a stop changes
OF_CENTRE = {"x", "y", "centre_x", "centre_y"}  # terms that are 0 for a centred lens


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
        x, y = spectra.centre_px
        offsets = np.array([-WINDOW_PX, 0, WINDOW_PX]) // 4
        rows, cols = (
            ((centre[:, None] + offsets) / placement.scale).astype(int).clip(0, size - 1)
            for centre, size in zip((y, x), distance_m.shape, strict=True)
        )
        seen = distance_m[rows[:, :, None], cols[:, None, :]].reshape(len(x), -1)
        centres = zip(placement.origin_px, (x, y), camera.centre_px, strict=True)
        place = [(origin + px - centre) / camera.half_diagonal_px for origin, px, centre in centres]
        return cls(spectra, 1 / np.median(seen, axis=1), np.stack(place))


@dataclass(frozen=True)
class _Curves:
    """The measures of held-out photos, by predicted distance and place."""

    edges_dpt: Array
    tables: Mapping[str, Array]  # `[STEPS, zones]`

    @classmethod
    def of(cls, card: Card, reference: DriftReference) -> _Curves:
        tables = {name: np.array(table) for name, table in reference.curves.items()}
        return cls(_edges_dpt(card), tables)

    @classmethod
    def fit(cls, card: Card, views: Sequence[View]) -> _Curves:
        """Averages over photos; displacements have none, since no lens displaces its axis."""
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
            table[cell] = _weighted_median(values[inside], weight[inside])
            total[cell] = weight[inside].sum()
    number = np.arange(STEPS)
    kernel = np.exp(-0.5 * ((number - number[:, None]) / SMOOTHING) ** 2)
    return np.asarray((kernel @ (table * total)) / np.maximum(kernel @ total, 1e-9))


def _scalar(measured: Measured, view: View) -> Array:
    """The one component of a measure, or the radial one of two `[N]`."""
    if len(measured.values) == 1:
        return np.asarray(measured.values[0])
    return np.asarray((measured.values * _radial(view)).sum(axis=0))


def _weighted_median(values: Array, weight: Array) -> float:
    order = np.argsort(values)
    below = np.cumsum(weight[order])
    return float(values[order][np.searchsorted(below, below[-1] / 2)])


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


def _photo_sums(view: View, curves: _Curves, focus_dpt: float) -> PhotoSums:
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


def _estimates(photos: Iterable[PhotoSums]) -> dict[str, Estimate]:
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
    """What drift is measured against, from captures that a model was not trained on.

    Args:
        predictor: The model; its predictions are compared later with those of the same model.
        captures: Held-out ones; where there are few, None is returned.
    """
    from tqdm import tqdm

    if len(captures) < LEAST_REFERENCE:
        return None
    card, views = predictor.card, []
    for index in tqdm(range(len(captures)), "recording blur", unit="photo", disable=None):
        light, placement = captures.image(index).numpy(), captures.placement(index)
        distance_m = predictor.posterior(light, placement).decode(DISTANCE_ONLY).distance_m
        views.append(View.of(light, placement, distance_m, card.camera))
    curves = _Curves.fit(card, views)
    tables = {name: tuple(map(tuple, table.tolist())) for name, table in curves.tables.items()}
    return DriftReference(curves=tables, estimates=_estimates(_cross_fitted(card, views)))


def _cross_fitted(card: Card, views: Sequence[View]) -> Iterator[PhotoSums]:
    """What photos add to the statistics, with curves of other photos, as new ones will have."""
    for fold in range(FOLDS):
        others = [view for number, view in enumerate(views) if number % FOLDS != fold]
        curves = _Curves.fit(card, others)
        for view in views[fold::FOLDS]:
            yield _photo_sums(view, curves, 1 / card.camera.focus_distance_m)


def with_drift_reference(
    model: TrainedModel, captures: CaptureSet, device: Device = "auto"
) -> TrainedModel:
    """The same network with a card that drift can be measured against; see `drift_reference`."""
    from rangefinder.inference.predictor import Predictor
    from rangefinder.models.model_files import TrainedModel

    reference = drift_reference(Predictor(model, device), captures)
    return TrainedModel(model.network, model.card.model_copy(update={"drift": reference}))


@dataclass(frozen=True)
class Comparison:
    """One statistic of new photos and of the held-out ones."""

    name: str
    found: Estimate
    expected: Estimate
    z: float  # difference / its standard error
    p: float  # corrected for the number of statistics

    @property
    def measure(self) -> str:
        """What is measured."""
        return self.name.partition(".")[0]

    @property
    def term(self) -> str:
        """Which term of its measure it is."""
        return self.name.partition(".")[2]


@dataclass(frozen=True)
class Drift:
    """Whether the camera has changed.

    Attributes:
        photos: Number of photos looked at.
        refused: How many of them are stored or processed unlike those of the training.
        other: How many of them say themselves that they are of another camera or setting.
        causes: What has changed, the likeliest first; nothing: no drift.
        scenes_differ: Whether predicted distances are others than in training, which is no drift.
        comparisons: All statistics.
        reason: Of the photos that are refused, one reason.
    """

    photos: int
    refused: int
    other: int
    causes: tuple[Cause, ...]
    scenes_differ: bool
    comparisons: tuple[Comparison, ...]
    reason: str = ""

    @property
    def is_drift(self) -> bool:
        """Whether anything of the camera has changed."""
        return bool(self.causes)

    def __str__(self) -> str:
        return _verdict(self)

    def content(self) -> dict[str, Any]:
        """Ready for JSON."""
        return {
            "drift": self.is_drift,
            "causes": list(self.causes),
            "verdict": str(self),
            "scenes_differ": self.scenes_differ,
            "photos": self.photos,
            "refused": self.refused,
            "other_camera": self.other,
            "statistics": {
                one.name: {
                    "found": one.found.value,
                    "expected": one.expected.value,
                    "z": round(one.z, 3),
                    "p": one.p,
                }
                for one in self.comparisons
            },
        }

    def metrics(self) -> dict[str, float]:
        """Numbers to follow over time."""
        shares = {"refused": self.refused / self.photos, "other_camera": self.other / self.photos}
        z = {f"z/{one.name}": one.z for one in self.comparisons}
        least = min((one.p for one in self.comparisons if not _is_of_scenes(one)), default=1.0)
        return {"drift": float(self.is_drift), **shares, "p": least, **z}


def _is_of_scenes(one: Comparison) -> bool:
    return one.measure == SCENES


@dataclass(frozen=True)
class Seen:
    """What is kept of a photo that was measured."""

    sums: PhotoSums
    shifts: tuple[str, ...]  # how it is stored or processed unlike those of the training
    others: tuple[str, ...]  # why it is of another camera or setting


class DriftTest:
    """Compares photos with those that training held out.

    Args:
        card: Of the model.
        params: Levels and numbers of photos.

    Raises:
        ModelError: If the card has nothing to compare with.
    """

    def __init__(self, card: Card, params: DriftParams) -> None:
        if card.drift is None:
            raise ModelError(
                "the model knows nothing that drift could be measured against",
                expected=f"a student trained with at least {LEAST_REFERENCE} validation photos",
                todo="Train it again with this version, and with more captures held out.",
            )
        self.params, self._camera, self._reference = params, card.camera, card.drift
        self._curves = _Curves.of(card, card.drift)

    def see(self, measurement: Measurement) -> Seen:
        """What a measured photo shows."""
        photo, camera = measurement.photo, self._camera
        view = View.of(photo.light, photo.placement, measurement.stored.distance_m, camera)
        shifts = [str(shift) for shift in photo.shifts]
        others = tuple(text for text in photo.warnings if text not in shifts)
        stored = tuple(str(shift) for shift in photo.shifts if shift.kind not in OF_SCENES)
        sums = _photo_sums(view, self._curves, 1 / camera.focus_distance_m)
        return Seen(sums, stored, others)

    def __call__(self, photos: Sequence[Seen]) -> Drift:
        """Judge a set of photos.

        Raises:
            CaptureError: If they are too few.
        """
        if len(photos) < self.params.min_photos:
            raise CaptureError(
                "there are too few photos to tell drift from other scenes",
                got=len(photos),
                expected=f"at least {self.params.min_photos} (drift.min_photos)",
            )
        compared = self._compared(_estimates(one.sums for one in photos))
        refused, other = (
            [texts[0] for texts in every if texts]
            for every in ([one.shifts for one in photos], [one.others for one in photos])
        )
        causes: tuple[Cause, ...] = ()
        if self._are_many(len(other), len(photos)):
            causes += ("camera",)
        if self._are_many(len(refused), len(photos)):
            causes += ("encoding",)
        moved = [one for one in compared if one.p < self.params.level]
        scenes = [one for one in moved if _is_of_scenes(one)]
        if not causes:  # encoding changes blur itself
            causes = self._causes([one for one in moved if one not in scenes])
        reason = next(iter(other or refused), "")
        count = len(photos), len(refused), len(other)
        return Drift(*count, causes, bool(scenes), tuple(compared), reason)

    def _are_many(self, count: int, of: int) -> bool:
        """Whether so many photos are more than the share that is usual."""
        from scipy.stats import binomtest

        found = binomtest(count, of, self.params.own_refused, alternative="greater")
        return bool(found.pvalue < self.params.level)

    def _compared(self, found: Mapping[str, Estimate]) -> list[Comparison]:
        """Every statistic that both have; those of the lens and of scenes corrected apart."""
        compared = [
            _compare(name, found[name], self._expected(name, expected))
            for name, expected in self._reference.estimates.items()
            if name in found
        ]
        return [
            one
            for of_scenes in (False, True)
            for one in _holm([c for c in compared if _is_of_scenes(c) == of_scenes])
        ]

    def _expected(self, name: str, held_out: Estimate) -> Estimate:
        """The statistic of held-out photos, or what the symmetry that training assumed demands."""
        if self._camera.symmetric and name.partition(".")[2] in OF_CENTRE:
            return Estimate(value=0.0, se=0.0, photos=held_out.photos)
        return held_out

    def _causes(self, moved: Sequence[Comparison]) -> tuple[Cause, ...]:
        """What changes the statistics that have moved."""
        terms = {one.term for one in moved}
        if not terms:
            return ()
        if terms <= OF_CENTRE:
            return ("decentring",)
        if terms <= OF_APERTURE and self._is_scaled(moved):
            return ("aperture", "lens")
        return ("lens",)

    def _is_scaled(self, moved: Sequence[Comparison]) -> bool:
        """Whether the blur of colours could have changed by one factor, as a stop does it.

        Then the colour moves whose blur grows most with defocus, and others as they grow.
        """
        slopes = {name: self._curves.slope(name) for name in self._curves.tables}
        grown = {
            one.measure: one.z * slopes[one.measure] > 0 for one in moved if one.term == "defocus"
        }
        if not grown:
            return True
        steepest = max((f"{colour}_blur" for colour in COLOURS), key=lambda name: abs(slopes[name]))
        return steepest in grown and len(set(grown.values())) == 1


def _compare(name: str, found: Estimate, expected: Estimate) -> Comparison:
    """Welch's t-test of two estimates, not corrected."""
    from scipy.stats import ttest_ind_from_stats

    error = float(np.hypot(found.se, expected.se))
    if error == 0:
        return Comparison(name, found, expected, 0.0, 1.0)
    numbers = ((one.value, one.se * one.photos**0.5, one.photos) for one in (found, expected))
    test = ttest_ind_from_stats(*next(numbers), *next(numbers), equal_var=False)
    return Comparison(name, found, expected, (found.value - expected.value) / error, test.pvalue)


def _holm(compared: Sequence[Comparison]) -> Iterator[Comparison]:
    """The same with p corrected for their number, by p."""
    largest = 0.0
    ordered = sorted(compared, key=lambda one: one.p)
    for rank, one in enumerate(ordered):
        largest = max(largest, min(1.0, (len(ordered) - rank) * one.p))
        yield Comparison(one.name, one.found, one.expected, one.z, float(largest))


_SAID: Mapping[Cause, str] = {
    "camera": "The photos say themselves that they are of another camera or setting",
    "encoding": "The encoding has changed: photos are stored or processed unlike those of the "
    "training",
    "lens": "The lens has changed: colours are blurred against each other as this lens never did",
    "aperture": "The aperture has changed, or the lens: the blur of colours grows otherwise with "
    "distance",
    "decentring": "The lens is decentred: its blur lies around another centre",
}
_TODO: Mapping[Cause, str] = {
    "camera": "Restore the setting, or train a model for it.",
    "encoding": "Store photos as before, or train with captures.encoding as they are now.",
    "lens": "Mount the lens of the training, or train a model for this one.",
    "aperture": "Set the f-number of the training; if it is set, look at the lens.",
    "decentring": "Look whether the lens was knocked or mounted askew; compare with a tape measure "
    "(rangefinder verify).",
}


def _verdict(drift: Drift) -> str:
    """One paragraph: what has changed, and what to do."""
    if drift.causes:
        first = drift.causes[0]
        said, todo = _SAID[first], _TODO[first]
        if first in ("camera", "encoding"):
            count = drift.other if first == "camera" else drift.refused
            said = f"{said} ({count} of {drift.photos}; {drift.reason})"
        return f"DRIFT in {drift.photos} photos. {said}. {todo}"
    text = f"No drift in {drift.photos} photos."
    if drift.scenes_differ:
        text += (
            " Predicted distances are others than in training: other scenes, or the focus has "
            "moved, which no photo tells apart. Compare with a tape measure (rangefinder verify)."
        )
    return text


def find_drift(session: Session, photos: Sequence[Path], params: DriftParams) -> Drift:
    """Measure photos and judge them.

    Args:
        session: It has to accept all photos (`force`).
        photos: Files; those that cannot be read are named in the log and left out.
        params: Levels and numbers of photos.

    Raises:
        CaptureError: If too few can be read.
        ModelError: If the model knows nothing to compare with.
    """
    from tqdm import tqdm

    test, seen = DriftTest(session.card, params), []
    for path in tqdm(photos, "Measuring", unit="photo", disable=None):
        try:
            seen.append(test.see(session.measure(path)))
        except RangefinderError as error:
            log.warning("%s is left out: %s", path, error)
    return test(seen)


@dataclass
class DriftMonitor:
    """Watches for drift in the last photos that were measured.

    Attributes:
        test: Judges them.
        drift: The latest judgement; None: there were too few photos so far.
        warning: Verdict of the first judgement that is drift, until somebody takes it.
    """

    test: DriftTest
    drift: Drift | None = None
    warning: str = ""
    _seen: deque[Seen] = field(default_factory=deque)
    _new: int = 0

    @classmethod
    def watching(cls, session: Session, params: DriftParams) -> DriftMonitor | None:
        """A monitor of what a session measures; None if its model has nothing to compare with."""
        if session.card.drift is None:
            return None
        monitor = cls(DriftTest(session.card, params))
        session.observe = monitor.add
        return monitor

    def add(self, measurement: Measurement) -> None:
        """Look at a measured photo too; photos are judged each time half of them are new."""
        params = self.test.params
        self._seen.append(self.test.see(measurement))
        self._new += 1
        if len(self._seen) > params.window_photos:
            self._seen.popleft()
        if self._new < (params.window_photos + 1) // 2 or len(self._seen) < params.min_photos:
            return
        was_drift = self.drift is not None and self.drift.is_drift
        self.drift, self._new = self.test(self._seen), 0
        if self.drift.is_drift and not was_drift:
            self.warning = str(self.drift)

    def take_warning(self) -> str:
        """The warning, once; empty if there is none."""
        warning, self.warning = self.warning, ""
        return warning
