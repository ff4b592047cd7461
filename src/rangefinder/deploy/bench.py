"""The bench: a loaded model that measures photo files, one after the other."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from rangefinder.config import Interval
from rangefinder.deploy.measure import LEVEL, Measurement, meter
from rangefinder.deploy.output import write_cloud, write_maps
from rangefinder.deploy.overlay import FORCED
from rangefinder.deploy.photo import Photo, Terms, read_photo
from rangefinder.errors import CaptureError
from rangefinder.location import Placement
from rangefinder.models.io import TrainedModel

Point = tuple[float, float]


@dataclass(frozen=True)
class Reading:
    """What a model says at one place of a photo.

    Attributes:
        x_px: Column [px from the left edge].
        y_px: Row [px from the upper edge].
        distance_m: Distance [m].
        near_m: Near end of the central interval of `LEVEL` [m].
        far_m: Its far end [m].
        confidence: Probability that the truth is within 10 % of the distance.
    """

    x_px: float
    y_px: float
    distance_m: float
    near_m: float
    far_m: float
    confidence: float

    def __str__(self) -> str:
        interval = f"{LEVEL:.0%} interval {self.near_m:.2f}-{self.far_m:.2f} m"
        return f"({self.x_px:g}, {self.y_px:g}): {self.distance_m:.3f} m, {interval}"


@dataclass(frozen=True)
class Wanted:
    """What is wanted of every photo.

    Attributes:
        points: Places to read off [px].
        folder: Where maps go; None: nowhere.
        cloud: Whether to write a point cloud too.
    """

    points: tuple[Point, ...] = ()
    folder: Path | None = None
    cloud: bool = False


class Bench:
    """Measures photos with one model.

    Args:
        model: Teacher or student.
        device: `auto`, `cpu` or `cuda`.
        placement: Where photos sit on the sensor; None: each is the whole stored image.
        force: Measure photos of other cameras too, with a warning.
    """

    def __init__(
        self,
        model: TrainedModel,
        device: str = "auto",
        placement: Placement | None = None,
        *,
        force: bool = False,
    ) -> None:
        self.card, self.fingerprint = model.card, model.fingerprint
        self.terms = Terms(model.card.camera, placement, force)
        self._measure = meter(model, device=device)

    @property
    def range_m(self) -> Interval:
        """Nearest and farthest distance that the model can say."""
        low_dpt, high_dpt = self.card.prediction.inverse_range_dpt
        return 1 / high_dpt, 1 / low_dpt

    def measure(self, path: Path) -> tuple[Photo, Measurement]:
        """Read and measure one photo.

        Raises:
            CaptureError: If it cannot be read, or is not of the model's camera and not forced.
        """
        photo = read_photo(path, self.terms)
        return photo, self._measure(photo.image, photo.placement)

    def report(self, path: Path, stem: str, wanted: Wanted) -> dict[str, Any]:
        """Measure one photo and write what is wanted of it.

        Args:
            path: The photo.
            stem: Start of the names of its files.
            wanted: Places and files.

        Returns:
            What there is to say, ready for JSON.

        Raises:
            CaptureError: If it cannot be measured, or a place is outside of it.
        """
        photo, measurement = self.measure(path)
        readings = [read_off(measurement, point) for point in wanted.points]
        files: dict[str, Path] = {}
        if wanted.folder is not None:
            title = self._title(photo)
            files = write_maps(wanted.folder, stem, photo.image, measurement, self.range_m, title)
            if wanted.cloud:
                files["cloud"] = write_cloud(
                    wanted.folder, stem, photo.image, measurement, self.card.camera, photo.placement
                )
        return {
            "photo": str(path),
            "model": self.fingerprint,
            "camera": self.card.camera_fingerprint,
            "forced": list(photo.warnings),
            "median_m": round(float(np.median(measurement.ranging.distance_m)), 4),
            "level": LEVEL,
            "at": [asdict(reading) for reading in readings],
            "files": {name: str(file) for name, file in files.items()},
        }

    def _title(self, photo: Photo) -> str:
        made_by = f"{self.card.kind} {self.fingerprint}, camera {self.card.camera.name}"
        forced = f"{FORCED}: " + "; ".join(photo.warnings) + ". " if photo.warnings else ""
        return f"{forced}{photo.path.name}: {made_by}"


def read_off(measurement: Measurement, point: Point) -> Reading:
    """What is said at a place (x, y) of the photo [px].

    Raises:
        CaptureError: If the place is outside of the photo.
    """
    height, width = measurement.confidence.shape
    x, y = point
    if not (0 <= x < width and 0 <= y < height):
        raise CaptureError(
            f"place ({x:g}, {y:g}) is outside of the photo", expected=f"within {width}x{height} px"
        )
    cell = math.floor(y), math.floor(x)
    near, far = measurement.ranging.interval_m[LEVEL]
    numbers = (measurement.ranging.distance_m, near, far, measurement.confidence)
    return Reading(x, y, *(round(float(values[cell]), 4) for values in numbers))


def stems(paths: Sequence[Path]) -> list[str]:
    """A name for each photo's files: its own, and a hash of its path where two share theirs."""
    own = [path.stem for path in paths]
    return [
        name if own.count(name) == 1 else f"{name}-{_short(path)}"
        for name, path in zip(own, paths, strict=True)
    ]


def _short(path: Path) -> str:
    return hashlib.sha256(str(path.resolve()).encode()).hexdigest()[:8]
