"""Drift: whether a set of photos is still of the camera that a model was trained on.

A photo says little of its lens that its scene could not have caused. A set does: at one predicted
distance and one place on the sensor, red and blue are blurred and displaced against green as the
lens does it, and blur has the lens's direction, whatever is photographed. Each term of these
(`inference.drift_terms`) is compared with that of held-out photos by Welch's t-test, and corrected
for their number (Holm, A simple sequentially rejective multiple test procedure, 1979).
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from rangefinder.captures.blur_spectra import COLOURS
from rangefinder.config import DriftParams
from rangefinder.errors import CaptureError, ModelError, RangefinderError
from rangefinder.inference.drift_terms import (
    LEAST_REFERENCE,
    SCENES,
    Curves,
    PhotoSums,
    View,
    estimates,
    photo_sums,
)
from rangefinder.models.card import Card
from rangefinder.models.drift_reference import Estimate

if TYPE_CHECKING:
    from rangefinder.inference.session import Measurement, Session

log = logging.getLogger(__name__)
Cause = Literal["encoding", "camera", "lens", "aperture", "decentring"]
OF_SCENES = {"dark"}  # kinds of domain shift that scenes cause too
OF_APERTURE = {"level", "defocus", "radial_defocus", "strength"}  # terms that a stop changes
OF_CENTRE = {"x", "y", "centre_x", "centre_y"}  # terms that are 0 for a centred lens


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
        self._curves = Curves.of(card, card.drift)

    def see(self, measurement: Measurement) -> Seen:
        """What a measured photo shows."""
        photo, camera = measurement.photo, self._camera
        view = View.of(photo.light, photo.placement, measurement.stored.distance_m, camera)
        shifts = [str(shift) for shift in photo.shifts]
        others = tuple(text for text in photo.warnings if text not in shifts)
        stored = tuple(str(shift) for shift in photo.shifts if shift.kind not in OF_SCENES)
        sums = photo_sums(view, self._curves, 1 / camera.focus_distance_m)
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
        compared = self._compared(estimates(one.sums for one in photos))
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
