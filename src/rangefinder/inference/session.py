"""A session: one loaded model over many photo files; tape-measure checks."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from rangefinder.captures.photos import Photo, PhotoPolicy, photo_of_array, read_photo
from rangefinder.captures.sample_bits import SampleBits
from rangefinder.common.files import atomic_write
from rangefinder.common.lengths import length_unit
from rangefinder.config import Device, Interval
from rangefinder.coordinates import Placement
from rangefinder.errors import CaptureError, ConfigError
from rangefinder.inference.interface import Outputs, PhotoPosterior, PhotoPredictor
from rangefinder.inference.output import FORCED, ray_slopes, write_cloud, write_maps
from rangefinder.inference.viewer import PAGE, View, page, shown_places
from rangefinder.models.card import Card
from rangefinder.models.prediction import (
    REPORTED_LEVEL,
    Float,
    Prediction,
    TwoDistances,
    accuracy_of,
)
from rangefinder.optics.blur import reference_m
from rangefinder.optics.srgb import srgb_pixels

if TYPE_CHECKING:
    from rangefinder.models.model_files import TrainedModel

Point = tuple[float, float]


@dataclass(frozen=True)
class OneOfTwo:
    """One of two possible distances.

    Attributes:
        distance_m: Distance [m], given that the truth is within the interval.
        share: Probability of the interval, given that the truth is within one of the two.
        near_m: Near end of the interval [m].
        far_m: Its far end [m].
    """

    distance_m: float
    share: float
    near_m: float
    far_m: float


@dataclass(frozen=True)
class PointReading:
    """Prediction at one pixel of a photo.

    Attributes:
        x_px: Column [px from the left edge].
        y_px: Row [px from the upper edge].
        distance_m: Distance [m]: of all that is possible, the one with the least expected relative
            error.
        near_m: Near end of the 80 % interval [m].
        far_m: Its far end [m].
        accuracy_probability: Probability that the relative error is below 10 %.
        two_distances: Both distances, the nearer one first, where two are possible; their intervals
            together should hold the truth with a probability of 80 %.
    """

    x_px: float
    y_px: float
    distance_m: float
    near_m: float
    far_m: float
    accuracy_probability: float
    two_distances: tuple[OneOfTwo, OneOfTwo] | None = None

    @classmethod
    def read(cls, content: Mapping[str, Any]) -> PointReading:
        """Of what `asdict` gives."""
        both = content["two_distances"]
        return cls(**{**content, "two_distances": both and tuple(OneOfTwo(**one) for one in both)})

    @property
    def intervals_m(self) -> tuple[Interval, ...]:
        """Near and far end [m] of the interval, or of both where two distances are possible."""
        return tuple((one.near_m, one.far_m) for one in self.two_distances or (self,))

    def __str__(self) -> str:
        intervals = self.intervals_m
        unit = length_unit((intervals[0][0], intervals[-1][1]))
        spans = [
            f"{unit.fixed(near, 2)}-{unit.fixed(far, 2)} {unit.name}" for near, far in intervals
        ]

        def text(distance_m: float) -> str:
            return f"{unit.fixed(distance_m, 3)} {unit.name}"

        known = f"{REPORTED_LEVEL:.0%} interval {spans[0]}"
        if self.two_distances:
            each = zip(self.two_distances, spans, strict=True)
            both = (f"{text(one.distance_m)} ({one.share:.0%}: {span})" for one, span in each)
            known = f"{REPORTED_LEVEL:.0%} intervals " + " or ".join(both)
        return f"({self.x_px:g}, {self.y_px:g}): {text(self.distance_m)}, {known}"


@dataclass(frozen=True, eq=False)
class Measurement:
    """One measured photo. Its maps and points are turned as viewers turn the photo.

    Attributes:
        photo: The photo.
        posterior: Its predictive distributions.
        stored: Distance, 80 % interval and accuracy probability of every pixel, laid out as the
            sensor is.
        card: Of the model.
        fingerprint: Of the model.
    """

    photo: Photo
    posterior: PhotoPosterior
    stored: Prediction
    card: Card
    fingerprint: str

    @cached_property
    def prediction(self) -> Prediction:
        """Distance, 80 % interval and accuracy probability of every pixel as viewers show it."""
        shown, intervals = self.photo.shown, self.stored.interval_m.items()
        return Prediction(
            distance_m=shown(self.stored.distance_m),
            interval_m={level: (shown(near), shown(far)) for level, (near, far) in intervals},
            accuracy_probability=shown(accuracy_of(self.stored)),
        )

    @property
    def distance_m(self) -> Float:
        """Distance `[H, W]` [m] along the optical axis."""
        return self.prediction.distance_m

    @property
    def accuracy_probability(self) -> Float:
        """Probability `[H, W]` that the relative error is below 10 %."""
        return accuracy_of(self.prediction)

    def interval_m(self, level: float = REPORTED_LEVEL) -> tuple[Float, Float]:
        """Near and far end `[H, W]` [m] of the central interval with probability `level`.

        Raises:
            ConfigError: If `level` is not between 0 and 1.
        """
        if not 0 < level < 1:
            raise ConfigError("an interval's level lies between 0 and 1", got=level)
        if level in self.prediction.interval_m:
            return self.prediction.interval_m[level]
        outputs = Outputs(levels=(level,), accuracy=False)
        near, far = self.posterior.decode(outputs).interval_m[level]
        return self.photo.shown(near), self.photo.shown(far)

    @cached_property
    def two_distances(self) -> TwoDistances:
        """Both distances `[H, W, 2]`, the nearer one first; NaN where there is one."""
        both = self.posterior.two_distances(*map(np.arange, self.stored.distance_m.shape))
        return TwoDistances(*map(self.photo.shown, both.maps))

    def at(self, x_px: float, y_px: float) -> PointReading:
        """Prediction at column `x_px` and row `y_px`.

        Raises:
            CaptureError: If the point is outside of the photo.
        """
        height, width = self.distance_m.shape
        if not (0 <= x_px < width and 0 <= y_px < height):
            raise CaptureError(
                f"point ({x_px:g}, {y_px:g}) is outside of the photo",
                expected=f"within {width}x{height} px",
            )
        pixel = math.floor(y_px), math.floor(x_px)
        maps = (self.distance_m, *self.interval_m(), self.accuracy_probability)
        distance, near, far, accuracy = (round(float(values[pixel]), 4) for values in maps)
        rows, columns = self.photo.stored_pixels(*(np.array([place]) for place in pixel))
        both = _pair(self.posterior.two_distances(rows, columns))
        return PointReading(x_px, y_px, distance, near, far, accuracy, both)

    def view(self) -> View:
        """What the viewer shows of it."""
        card, photo = self.card, self.photo
        camera, (height, width) = card.camera, self.stored.distance_m.shape
        rows, columns = photo.stored_pixels(*shown_places(self.distance_m.shape))
        both = np.stack(self.posterior.two_distances(rows, columns).maps, axis=-1)
        near, far = self.stored.interval_m[REPORTED_LEVEL]
        maps = (self.stored.distance_m, near, far, accuracy_of(self.stored))
        at = np.ix_(rows, columns)
        each = np.stack([one[at] for one in maps], axis=-1)
        values = np.concatenate([each, both.reshape(*each.shape[:2], -1)], axis=-1)
        x, y = ray_slopes(camera, photo.placement, np.array([0, width]), np.array([0, height]))
        return View(
            name=photo.path.name,
            model=self.card.title(self.fingerprint),
            size_px=(self.distance_m.shape[0], self.distance_m.shape[1]),
            photo=srgb_pixels(photo.shown_light),
            maps=np.moveaxis(photo.shown(values), -1, 0),
            corner_slopes=photo.shown(np.stack(np.meshgrid(x, y), axis=-1)),
            lens_m=reference_m(camera),
            range_m=card.prediction.range_m,
            warnings=photo.warnings,
        )

    def save(
        self,
        folder: str | Path,
        stem: str | None = None,
        *,
        cloud: bool = False,
        html: bool = False,
    ) -> dict[str, Path]:
        """Write distance map, accuracy map and overlay into a folder, each atomically.

        Returns the files by what they are. `stem` starts their names, by default the photo's;
        `cloud` asks for a point cloud too, `html` for a page to look at.
        """
        folder, stem = Path(folder), stem or self.photo.path.stem
        card, photo = self.card, self.photo
        range_m, title = card.prediction.range_m, self._title()
        files = write_maps(folder, stem, photo.shown_light, self.prediction, range_m, title)
        if cloud:
            files["cloud"] = write_cloud(
                folder, stem, photo.light, self.stored, card.camera, photo.placement
            )
        if html:
            content = page([self.view().content()])
            files["page"] = atomic_write(
                folder / f"{stem}_{PAGE}", lambda path: path.write_text(content, encoding="utf-8")
            )
        return files

    def _title(self) -> str:
        warnings = self.photo.warnings
        forced = f"{FORCED}: " + "; ".join(warnings) + ". " if warnings else ""
        return f"{forced}{self.photo.path.name}: {self.card.title(self.fingerprint)}"

    def summary(self, points: Sequence[Point] = ()) -> dict[str, Any]:
        """Results ready for JSON: the median, and predictions at points (x, y) [px].

        Raises:
            CaptureError: If a point is outside of the photo.
        """
        height, width = self.distance_m.shape
        return {
            "width_px": width,
            "height_px": height,
            "model": self.fingerprint,
            "camera": self.card.camera_fingerprint,
            "forced": list(self.photo.warnings),
            "median_m": round(float(np.median(self.distance_m)), 4),
            "level": REPORTED_LEVEL,
            "at": [asdict(self.at(*point)) for point in points],
        }


def _pair(both: TwoDistances) -> tuple[OneOfTwo, OneOfTwo] | None:
    """Both distances of one pixel, rounded; None where there is one."""
    if not np.isfinite(both.distance_m).all():
        return None
    rows = np.stack([values.ravel() for values in both.maps], axis=-1).astype(np.float64)
    nearer, farther = (OneOfTwo(*row) for row in rows.round(4).tolist())
    return nearer, farther


@dataclass(frozen=True)
class OutputRequest:
    """What is asked for of every photo: points (x, y) [px] to read out, and files, if any."""

    points: tuple[Point, ...] = ()
    folder: Path | None = None
    cloud: bool = False
    html: bool = False


def photo_policy(
    card: Card,
    placement: Placement | None = None,
    *,
    force: bool = False,
    sample_bits: int | None = None,
) -> PhotoPolicy:
    """Which photos a model accepts, and that they are read as those it was trained on."""
    bits = sample_bits or card.sample_bits
    return PhotoPolicy(card.camera, placement, force, card.orientation, bits, card.photos)


class Session:
    """Measures photos with one loaded model.

    Attributes:
        bits: Of the 16-bit photos measured so far.
        observe: Is given every measurement, if set.

    Args:
        model: Teacher or student; or a predictor, of an exported file for example.
        device: `auto`, `cpu` or `cuda`, of a teacher or student.
        placement: Where photos sit on the sensor; None: each is the whole stored image.
        force: Measure photos of other cameras too, with a warning.
        sample_bits: That 16-bit photos use which do not say it; None: as in training.
    """

    def __init__(
        self,
        model: TrainedModel | PhotoPredictor,
        device: Device = "auto",
        placement: Placement | None = None,
        *,
        force: bool = False,
        sample_bits: int | None = None,
    ) -> None:
        self._predictor = _predictor_of(model, device)
        self.card, self.fingerprint = model.card, model.fingerprint
        self.policy = photo_policy(model.card, placement, force=force, sample_bits=sample_bits)
        self.bits = SampleBits()
        self.observe: Callable[[Measurement], None] | None = None

    def measure(
        self,
        photo: str | Path | NDArray[np.generic],
        *,
        origin_px: Point | None = None,
        scale: float | None = None,
    ) -> Measurement:
        """Measure one photo.

        Args:
            photo: A file; or an array `[H, W, 3]` (`[H, W]`: grey): uint8 is taken as sRGB, uint16
                and float (0..1) as linear light.
            origin_px: Upper left corner (x, y) of a crop on the full photo [px].
            scale: Pixels of the full photo per pixel of this one.

        Raises:
            CaptureError: If it cannot be read, is no photo, or is not of the model's camera and not
                forced.
        """
        placement = Placement.given(origin_px, scale)
        policy = replace(self.policy, placement=placement) if placement else self.policy
        if isinstance(photo, np.ndarray):
            read = photo_of_array(photo, policy)
        else:
            read = read_photo(Path(photo), policy)
        self.bits.add(read.largest)
        posterior = self._predictor.posterior(read.light, read.placement, read.shifts)
        decoded = posterior.decode()
        measured = Measurement(read, posterior, decoded, self.card, self.fingerprint)
        if self.observe is not None:
            self.observe(measured)
        return measured

    def report(self, path: Path, stem: str, request: OutputRequest) -> dict[str, Any]:
        """Measure one photo and write what is asked for; results ready for JSON.

        Raises:
            CaptureError: If it cannot be measured, or a point is outside of it.
        """
        measured = self.measure(path)
        summary = measured.summary(request.points)
        files: dict[str, Path] = {}
        if request.folder is not None:
            files = measured.save(request.folder, stem, cloud=request.cloud, html=request.html)
        written = {name: str(file) for name, file in files.items()}
        return {"photo": str(path), **summary, "files": written}


def _predictor_of(model: TrainedModel | PhotoPredictor, device: Device) -> PhotoPredictor:
    """The predictor itself, or one in torch of a trained model."""
    if hasattr(model, "posterior"):
        return model
    from rangefinder.inference.predictor import Predictor

    return Predictor(model, device)


def stems(paths: Sequence[Path]) -> list[str]:
    """A name for each photo's files: its own, and a hash of its path where two share theirs."""
    own = [path.stem for path in paths]
    return [
        name if own.count(name) == 1 else f"{name}-{_short(path)}"
        for name, path in zip(own, paths, strict=True)
    ]


def _short(path: Path) -> str:
    return hashlib.sha256(str(path.resolve()).encode()).hexdigest()[:8]


@dataclass(frozen=True)
class TapeCheck:
    """One place of one photo: what the model and the tape [m] say, and why it was to be refused."""

    photo: Path
    reading: PointReading
    tape_m: float
    forced: tuple[str, ...] = ()

    @property
    def error(self) -> float:
        """Relative error."""
        return self.reading.distance_m / self.tape_m - 1

    @property
    def inside(self) -> bool:
        """Whether the tape's distance is within the model's interval, or one of the two."""
        return any(near <= self.tape_m <= far for near, far in self.reading.intervals_m)


def tape_checks(
    session: Session, photo: Path, tape_m: float, points: Sequence[Point]
) -> list[TapeCheck]:
    """Compare at some points of a photo, by default in its middle.

    Raises:
        CaptureError: If the photo cannot be measured, or a point is outside of it.
    """
    measured = session.measure(photo)
    height, width = measured.distance_m.shape
    return [
        TapeCheck(photo, measured.at(*point), tape_m, measured.photo.warnings)
        for point in points or [(width // 2, height // 2)]
    ]
