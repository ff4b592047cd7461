"""Check of an exported model: its metres in ONNX Runtime against those of torch."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from rangefinder.captures.images import linear_light
from rangefinder.coordinates import Placement
from rangefinder.errors import ModelError
from rangefinder.inference.predictor import Outputs, Predictor
from rangefinder.models.distribution import INTERVAL_LEVELS
from rangefinder.models.model_files import TrainedModel
from rangefinder.serving.export import OUTPUTS

if TYPE_CHECKING:
    import onnxruntime

TOLERANCE = 1e-4  # of metres, relative, between torch and an exported file
CHECKED_SHARE = 0.99  # of a photo's pixels that have to agree
CHECK_SCALES = (1.0, 1.0, 1.0, 1.0, 1.5)  # of photos that an exported file is checked on


@dataclass(frozen=True)
class Agreement:
    """Largest differences between an exported file and torch on one photo.

    Attributes:
        size_px: Height and width of the photo.
        scale: Sensor pixels per pixel of it.
        distance: Of distances, relative, on `CHECKED_SHARE` of the pixels.
        largest: The same on all pixels. Where a distribution has two peaks of equal mass, its
            median lies between them, and rounding moves it.
        interval: Of ends of intervals, relative.
        accuracy: Of accuracy probabilities, absolute.
    """

    size_px: tuple[int, int]
    scale: float
    distance: float
    largest: float
    interval: float
    accuracy: float


def check_photos(model: TrainedModel) -> list[tuple[NDArray[np.uint16], int, Placement]]:
    """Photos of five sizes that an exported file is checked on: samples, bits, placement.

    They are smooth noise, each with a saturated area, half of them with 8 bits.
    """
    rng, least = np.random.default_rng(0), model.card.patch_px
    photos = []
    for index, scale in enumerate(CHECK_SCALES):
        height, width = (least + int(n) for n in rng.integers(8, 3 * least, 2))
        coarse = torch.from_numpy(rng.random((1, 3, height // 8 + 2, width // 8 + 2)))
        smooth = nn.functional.interpolate(coarse, (height, width), mode="bilinear")[0]
        noisy = smooth.numpy() + rng.normal(0, 0.03, smooth.shape)
        noisy[:, : height // 4, : width // 4] = 1.0
        bits = (8, 16)[index % 2]
        levels = np.clip(noisy, 0, 1).transpose(1, 2, 0) * (2**bits - 1)
        place = Placement((7.0 * index, 3.25 * index), scale)
        photos.append((np.ascontiguousarray(levels.round().astype(np.uint16)), bits, place))
    return photos


def agreement(
    model: TrainedModel,
    path: Path,
    photos: Iterable[tuple[NDArray[np.uint16], int, Placement]] | None = None,
) -> list[Agreement]:
    """Compare an exported file in ONNX Runtime with the model in torch, in float32.

    Args:
        model: What was exported.
        path: The file.
        photos: Samples `[H, W, 3]`, bits and placement of each; None: `check_photos`.

    Returns:
        One for each photo.
    """
    session, predict = open_onnx(path), Predictor(model, "cpu", exact=True)
    outputs = Outputs(levels=INTERVAL_LEVELS)
    results = []
    for samples, bits, place in check_photos(model) if photos is None else photos:
        stored = samples.astype(np.uint8) if bits == 8 else samples
        light = linear_light("the photo", stored, bits=bits)
        wanted = predict(light, place, outputs)
        feeds = {
            "photo": samples[None],
            "bits": np.array(bits),
            "origin_px": np.array(place.origin_px),
            "scale": np.array(place.scale),
            "levels": np.array(INTERVAL_LEVELS, dtype=np.float32),
        }
        distance, near, far, accuracy = session.run(list(OUTPUTS), feeds)
        ends = np.stack([np.stack(wanted.interval_m[level]) for level in INTERVAL_LEVELS], axis=1)
        interval = np.abs(np.concatenate([near, far]) / ends - 1).max()
        difference = np.abs(distance[0] / wanted.distance_m - 1)
        results.append(
            Agreement(
                size_px=(samples.shape[0], samples.shape[1]),
                scale=place.scale,
                distance=float(np.quantile(difference, CHECKED_SHARE)),
                largest=float(difference.max()),
                interval=float(interval),
                accuracy=float(np.abs(accuracy[0] - wanted.accuracy_probability).max()),
            )
        )
    return results


def open_onnx(path: Path, threads: int = 0) -> onnxruntime.InferenceSession:
    """A session of ONNX Runtime on the CPU; `threads` 0: its own choice."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 3  # errors
    return onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])


def require_agreement(results: Iterable[Agreement], path: Path) -> None:
    """Refuse a file whose metres are not those of torch.

    Raises:
        ModelError: In that case.
    """
    worst = max(results, key=lambda one: one.distance)
    if not worst.distance <= TOLERANCE:
        height, width = worst.size_px
        raise ModelError(
            f"{path} does not give the distances of its model",
            got=f"relative differences up to {worst.distance:.1e} on {CHECKED_SHARE:.0%} of a "
            f"photo of {width}x{height} px",
            expected=f"at most {TOLERANCE:g}",
            todo="Do not use it; another version of onnxruntime or torch may do.",
        )
