"""A registered model as an MLflow pyfunc: photos to distances [m].

MLflow stores this package beside the weights, so the model loads where it is not installed.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping
from io import BytesIO
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from rangefinder.config import Device
from rangefinder.coordinates import Placement
from rangefinder.errors import CaptureError, RangefinderError
from rangefinder.inference.interface import Outputs
from rangefinder.inference.predictor import Predictor
from rangefinder.inference.session import Point, Session
from rangefinder.models.model_files import TrainedModel, load_model
from rangefinder.models.prediction import REPORTED_LEVEL
from rangefinder.serving.received import measure_received

OUTPUTS = ("distance_m", "near_m", "far_m")
PLACEMENT = {"origin_x_px": 0.0, "origin_y_px": 0.0, "scale": 1.0}
BOTH = "two_distances"  # parameter that asks for these too
Float = NDArray[np.float32]


class Table(Protocol):
    """A table of pandas, of which only this is used."""

    def to_dict(self, orient: str) -> list[dict[Any, Any]]:
        """Its rows."""


class ServedModel:
    """Teacher or student behind MLflow's `predict`.

    Args:
        model: The trained model.
        device: `auto`, `cpu` or `cuda`.
    """

    def __init__(self, model: TrainedModel, device: Device = "auto") -> None:
        self._predict = Predictor(model, device)
        self._session = Session(self._predict)

    def predict(
        self, inputs: Float | Table, params: Mapping[str, Any] | None = None
    ) -> dict[str, Float] | list[dict[str, Any]]:
        """Distances of arrays, or of photo files.

        Args:
            inputs: `[N, 3, H, W]` linear light, 0..1; or a table with a row for each photo, of
                `photo` (its file in base64) and, if wanted, `name` (its ending marks TIFF and
                camera raw) and `at` (points [x, y] [px] to read out).
            params: Where the images sit on the sensor: `origin_x_px`, `origin_y_px`, `scale`; and
                whether arrays get `two_distances`.

        Returns:
            Of arrays, maps `[N, H, W]`: distance [m], and the near and far end [m] of the central
            80 % interval; if asked for, `two_distance_m`, `two_share`, `two_near_m` and `two_far_m`
            `[N, H, W, 2]`, see `TwoDistances`. Of photos, for each what `rangefinder measure
            --json` prints.

        Raises:
            MlflowException: If a photo is refused, as `rangefinder measure` would.
        """
        place = PLACEMENT | dict(params or {})
        both = bool(place.pop(BOTH, False))
        if isinstance(inputs, np.ndarray):
            return self._maps(inputs, place, Outputs(accuracy=False, two_distances=both))
        try:
            return [self._read(row, place) for row in inputs.to_dict("records")]
        except RangefinderError as exc:
            from mlflow.exceptions import MlflowException

            raise MlflowException.invalid_parameter_value(str(exc)) from exc

    def _maps(
        self, images: Float, place: Mapping[str, float], outputs: Outputs
    ) -> dict[str, Float]:
        placement = Placement((place["origin_x_px"], place["origin_y_px"]), place["scale"])
        maps = []
        for image in np.asarray(images, dtype=np.float32):
            found = self._predict(torch.from_numpy(image.copy()), placement, outputs)
            one = (found.distance_m, *found.interval_m[REPORTED_LEVEL])
            named = dict(zip(OUTPUTS, one, strict=True))
            if found.two_distances is not None:
                named |= {
                    f"two_{name}": values for name, values in vars(found.two_distances).items()
                }
            maps.append(named)
        return {name: np.stack([each[name] for each in maps]) for name in maps[0]}

    def _read(self, row: Mapping[Any, Any], place: Mapping[str, float]) -> dict[str, Any]:
        origin_px, scale = None, None  # the whole photo, which has to have the camera's size
        if place != PLACEMENT:
            origin_px, scale = (place["origin_x_px"], place["origin_y_px"]), place["scale"]
        content = BytesIO(_file_of(row.get("photo")))
        name, points = row.get("name"), row.get("at")
        with TemporaryDirectory() as folder:
            measured = measure_received(
                self._session,
                content,
                name if isinstance(name, str) else None,  # NaN where other rows have one
                Path(folder),
                origin_px,
                scale,
            )
            read = measured.summary(_points(points) if isinstance(points, list) else ())
        return {"photo": measured.photo.path.name, **read}


def _file_of(text: Any) -> bytes:
    """A file of its base64."""
    try:
        return base64.b64decode(text, validate=True)
    except (ValueError, TypeError) as exc:
        raise CaptureError(
            f"a photo is no base64 ({exc})", expected="a column 'photo' with the file in base64"
        ) from exc


def _points(given: list[Any]) -> list[Point]:
    try:
        return [(float(x), float(y)) for x, y in given]
    except (ValueError, TypeError) as exc:
        raise CaptureError("points are no [x, y]", got=given, expected="[[240, 180]]") from exc


def _load_pyfunc(data_path: str, model_config: Mapping[str, Any] | None = None) -> ServedModel:
    """Entry point that MLflow calls; `model_config` names the device."""
    device: Device = (model_config or {}).get("device", "auto")
    return ServedModel(load_model(Path(data_path)), device)
