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
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

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
        return _term(self.name)


def _term(name: str) -> str:
    return name.partition(".")[2]


class Finding(NamedTuple):
    """What has changed, and what to do, in words."""

    what: str
    todo: str


_FINDINGS: Mapping[Cause, Finding] = {
    "camera": Finding(
        "EXIF data or size name another camera or setting",
        "Restore the setting, or train a model for it.",
    ),
    "encoding": Finding(
        "The encoding has changed: photos are stored or processed unlike those of the training",
        "Store photos as before, or train with captures.encoding as they are now.",
    ),
    "lens": Finding(
        "The lens has changed: colours are blurred against each other as this lens never did",
        "Mount the lens of the training, or train a model for this one.",
    ),
    "aperture": Finding(
        "The aperture has changed, or the lens: the blur of colours grows otherwise with distance",
        "Set the f-number of the training; if it is set, look at the lens.",
    ),
    "decentring": Finding(
        "The lens is decentred: its blur lies around another centre",
        "Look whether the lens was knocked or mounted askew; compare with a tape measure "
        "(rangefinder verify).",
    ),
}


@dataclass(frozen=True)
class Drift:
    """Whether the camera has changed.

    Attributes:
        photos: Number of photos looked at.
        refused: How many of them are stored or processed unlike those of the training.
        other: For how many EXIF data or size name another camera or setting.
        causes: What has changed, the likeliest first; nothing: no drift.
        scenes_differ: Whether predicted distances are others than in training, which is no drift.
        comparisons: All statistics.
        reason: Of the first cause, what one photo shows, if it is its file that shows it.
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
        """One paragraph: what has changed, and what to do."""
        if self.causes:
            found = _FINDINGS[self.causes[0]]
            return f"DRIFT in {self.photos} photos. {found.what}{self._counted()}. {found.todo}"
        text = f"No drift in {self.photos} photos."
        if self.scenes_differ:
            text += (
                " Predicted distances are others than in training: other scenes, or the focus has "
                "moved, which no photo tells apart. Compare with a tape measure (rangefinder "
                "verify)."
            )
        return text

    def _counted(self) -> str:
        """How many photos show the first cause, if files do."""
        count = {"camera": self.other, "encoding": self.refused}.get(self.causes[0])
        return "" if count is None else f" ({count} of {self.photos}; {self.reason})"

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
class PhotoEvidence:
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
        ModelError: If the card has no drift reference.
    """

    def __init__(self, card: Card, params: DriftParams) -> None:
        if card.drift is None:
            raise ModelError(
                "the model's card has no drift reference",
                expected=f"a student trained with at least {LEAST_REFERENCE} validation photos",
                todo="Train it again with this version, and with more captures held out.",
            )
        self.params, self._camera, self._reference = params, card.camera, card.drift
        self._curves = Curves.of(card, card.drift)

    def evidence(self, measurement: Measurement) -> PhotoEvidence:
        """What a measured photo shows."""
        photo, camera = measurement.photo, self._camera
        view = View.of(photo.light, photo.placement, measurement.stored.distance_m, camera)
        shifts = {str(shift): shift.kind for shift in photo.shifts}
        others = tuple(text for text in photo.warnings if text not in shifts)
        stored = tuple(text for text, kind in shifts.items() if kind not in OF_SCENES)
        sums = photo_sums(view, self._curves, 1 / camera.focus_distance_m)
        return PhotoEvidence(sums, stored, others)

    def __call__(self, photos: Sequence[PhotoEvidence]) -> Drift:
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
        other = [one.others[0] for one in photos if one.others]
        refused = [one.shifts[0] for one in photos if one.shifts]
        shown: dict[Cause, list[str]] = {"camera": other, "encoding": refused}
        causes = tuple(c for c, texts in shown.items() if self._are_many(len(texts), len(photos)))
        reason = shown[causes[0]][0] if causes else ""
        moved = [one for one in compared if one.p < self.params.level]
        scenes = [one for one in moved if _is_of_scenes(one)]
        if not causes:  # encoding changes blur itself
            causes = self._causes([one for one in moved if one not in scenes])
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
        if self._camera.symmetric and _term(name) in OF_CENTRE:
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
    samples = [x for e in (found, expected) for x in (e.value, e.se * e.photos**0.5, e.photos)]
    test = ttest_ind_from_stats(*samples, equal_var=False)
    return Comparison(name, found, expected, (found.value - expected.value) / error, test.pvalue)


def _holm(compared: Sequence[Comparison]) -> Iterator[Comparison]:
    """The same with p corrected for their number, by p."""
    largest = 0.0
    ordered = sorted(compared, key=lambda one: one.p)
    for rank, one in enumerate(ordered):
        largest = max(largest, min(1.0, (len(ordered) - rank) * one.p))
        yield Comparison(one.name, one.found, one.expected, one.z, float(largest))


def find_drift(session: Session, photos: Sequence[Path], params: DriftParams) -> Drift:
    """Measure photos and judge them.

    Args:
        session: It has to accept all photos (`force`).
        photos: Files; those that cannot be read are named in the log and left out.
        params: Levels and numbers of photos.

    Raises:
        CaptureError: If too few can be read.
        ModelError: If the model's card has no drift reference.
    """
    from tqdm import tqdm

    test, found = DriftTest(session.card, params), []
    for path in tqdm(photos, "Measuring", unit="photo", disable=None):
        try:
            found.append(test.evidence(session.measure(path)))
        except RangefinderError as error:
            log.warning("%s is left out: %s", path, error)
    return test(found)


class DriftMonitor:
    """Looks for drift in the last photos that were measured; the log has it once.

    Args:
        test: Judges them.

    Attributes:
        drift: The latest judgement; None: there were too few photos so far.
    """

    def __init__(self, test: DriftTest) -> None:
        self._test = test
        self.drift: Drift | None = None
        self._last = deque[PhotoEvidence](maxlen=test.params.window_photos)
        self._new = 0

    @classmethod
    def attached_to(cls, session: Session, params: DriftParams) -> DriftMonitor:
        """A monitor of what a session measures.

        Raises:
            ModelError: If the model's card has no drift reference.
        """
        monitor = cls(DriftTest(session.card, params))
        session.observe = monitor.add
        return monitor

    def add(self, measurement: Measurement) -> None:
        """Look at a measured photo too; photos are judged each time half of them are new."""
        params = self._test.params
        self._last.append(self._test.evidence(measurement))
        self._new += 1
        if self._new < (params.window_photos + 1) // 2 or len(self._last) < params.min_photos:
            return
        was_drift = self.drift is not None and self.drift.is_drift
        self.drift, self._new = self._test(self._last), 0
        if self.drift.is_drift and not was_drift:
            log.warning("%s", self.drift)
