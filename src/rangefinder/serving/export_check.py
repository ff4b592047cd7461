"""Check of an exported model: its metres in another runtime against those of torch."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from rangefinder.captures.light import Float, light_of_samples, resized
from rangefinder.coordinates import Placement
from rangefinder.errors import ModelError
from rangefinder.inference.exported import FilePredictor
from rangefinder.inference.interface import Outputs
from rangefinder.models.card import Card
from rangefinder.models.prediction import INTERVAL_LEVELS, Prediction, accuracy_of

if TYPE_CHECKING:
    from rangefinder.models.model_files import TrainedModel

TOLERANCE = 1e-4  # of metres, relative, between two runtimes
CHECKED_SHARE = 0.99  # of a photo's pixels that have to be within it
CHECK_SCALES = (1.0, 1.0, 1.0, 1.0, 1.5)  # of photos that an exported file is checked on
CheckPhoto = tuple[NDArray[np.uint16], int, Placement]
Predict = Callable[[Float, Placement, Outputs], Prediction]


@dataclass(frozen=True)
class Deviation:
    """Numerical deviation of an exported file from a reference on one photo.

    Attributes:
        size_px: Height and width of the photo.
        scale: Sensor pixels per pixel of it.
        distance: Of distances, relative, on `CHECKED_SHARE` of the pixels.
        largest: The same on all pixels. Where a distribution has two peaks of equal mass, its
            median lies between them, and rounding moves it.
        interval: Of ends of intervals, relative, on as many.
        accuracy: Of accuracy probabilities, absolute, likewise.
    """

    size_px: tuple[int, int]
    scale: float
    distance: float
    largest: float
    interval: float
    accuracy: float


def check_photos(card: Card) -> list[CheckPhoto]:
    """Photos of five sizes that an exported file is checked on: samples, bits, placement.

    They are smooth noise, each with a saturated area, half of them with 8 bits.
    """
    rng, least = np.random.default_rng(0), card.patch_px
    photos = []
    for index, scale in enumerate(CHECK_SCALES):
        height, width = (least + int(n) for n in rng.integers(8, 3 * least, 2))
        coarse = rng.random((3, height // 8 + 2, width // 8 + 2), dtype=np.float32)
        smooth = resized(coarse, height, width)
        noisy = smooth + rng.normal(0, 0.03, smooth.shape)
        noisy[:, : height // 4, : width // 4] = 1.0
        bits = (8, 16)[index % 2]
        levels = np.clip(noisy, 0, 1).transpose(1, 2, 0) * (2**bits - 1)
        place = Placement((7.0 * index, 3.25 * index), scale)
        photos.append((np.ascontiguousarray(levels.round().astype(np.uint16)), bits, place))
    return photos


def deviations(
    reference: Predict, exported: FilePredictor | Predict, photos: Iterable[CheckPhoto]
) -> list[Deviation]:
    """Compare an exported model with a reference, in float32.

    Args:
        reference: What should be predicted: an exact `Predictor` of the model, or the file in
            another runtime.
        exported: An ONNX file, which gets the samples as stored, or what predicts linear light.
        photos: Samples `[H, W, 3]`, bits and placement of each.

    Returns:
        One for each photo.
    """
    outputs = Outputs(levels=INTERVAL_LEVELS)
    results = []
    for samples, bits, place in photos:
        stored = samples.astype(np.uint8) if bits == 8 else samples
        light = light_of_samples("the photo", stored, bits=bits)
        wanted = reference(light, place, outputs)
        if isinstance(exported, FilePredictor):
            found = exported.of_samples(samples, bits, place).decode(outputs)
        else:
            found = exported(light, place, outputs)
        difference = np.abs(found.distance_m / wanted.distance_m - 1)
        ends = np.abs(_ends(found) / _ends(wanted) - 1)
        accuracy = np.abs(accuracy_of(found) - accuracy_of(wanted))
        results.append(
            Deviation(
                size_px=(samples.shape[0], samples.shape[1]),
                scale=place.scale,
                distance=float(np.quantile(difference, CHECKED_SHARE)),
                largest=float(difference.max()),
                interval=float(np.quantile(ends, CHECKED_SHARE)),
                accuracy=float(np.quantile(accuracy, CHECKED_SHARE)),
            )
        )
    return results


def _ends(prediction: Prediction) -> Float:
    """Ends of all intervals [m]."""
    return np.array([prediction.interval_m[level] for level in INTERVAL_LEVELS])


def checked_export(
    model: TrainedModel, scores: Mapping[str, Any] | None = None
) -> tuple[bytes, list[Deviation]]:
    """Content of an ONNX file whose distances are those of its model.

    Args:
        model: Teacher or student.
        scores: Of its evaluation, for the metadata.

    Returns:
        The content, and its deviation on each of `check_photos`.

    Raises:
        ConfigError: If packages are missing.
        ModelError: If the graph cannot hold the network, or its distances differ.
    """
    from rangefinder.serving.export import onnx_content

    return _checked(model, onnx_content(model, scores), FilePredictor, ".onnx")


def checked_program(model: TrainedModel) -> tuple[bytes, list[Deviation]]:
    """Content of a .pt2 file whose distances are those of its model; see `checked_export`."""
    from rangefinder.serving.export_program import ProgramPredictor, program_content

    return _checked(model, program_content(model), ProgramPredictor, ".pt2")


def _checked(
    model: TrainedModel,
    content: bytes,
    open_file: Callable[[Path], FilePredictor | Predict],
    suffix: str,
) -> tuple[bytes, list[Deviation]]:
    from rangefinder.inference.predictor import Predictor

    with TemporaryDirectory() as folder:
        path = Path(folder) / f"{model.card.kind}{suffix}"
        path.write_bytes(content)
        reference = Predictor(model, "cpu", exact=True)
        results = deviations(reference, open_file(path), check_photos(model.card))
    require_tolerance(results, "the exported file")
    return content, results


def within_tolerance(results: Iterable[Deviation]) -> bool:
    """Whether distances are those of the reference, to `TOLERANCE`."""
    return all(one.distance <= TOLERANCE for one in results)


def require_tolerance(results: Iterable[Deviation], owner: str) -> None:
    """Refuse a file whose metres are not those of the reference; `owner` is for the message.

    Raises:
        ModelError: In that case.
    """
    results = list(results)
    if within_tolerance(results):
        return
    worst = max(results, key=lambda one: np.nan_to_num(one.distance, nan=np.inf))
    height, width = worst.size_px
    raise ModelError(
        f"{owner} does not give the distances of its model",
        got=f"relative differences up to {worst.distance:.1e} on {CHECKED_SHARE:.0%} of a "
        f"photo of {width}x{height} px",
        expected=f"at most {TOLERANCE:g}",
        todo="Do not use it; another version of the runtime or of torch may do.",
    )
