"""Synthetic captures and models whose scores are known."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from numpy.typing import NDArray

from rangefinder.camera import Camera
from rangefinder.captures.manifest import Capture, CaptureSet, write_captures
from rangefinder.config import CameraParams, Parameters
from rangefinder.coordinates import Placement
from rangefinder.models.prediction import INTERVAL_LEVELS, Prediction

CAMERA = Camera(width_px=64, height_px=48)
Map = NDArray[np.float32]
NORMAL_Z = {0.5: 0.67449, 0.8: 1.28155, 0.95: 1.95996}


@dataclass
class FakeCaptures:
    """In memory, with the part of CaptureSet's interface that scoring reads."""

    camera: Camera
    distances: list[Map]
    textures: list[Map | None]
    scenes: list[str]
    images: list[Map] = field(default_factory=list)
    photographed: list[int] = field(default_factory=list)  # all others are simulated

    @property
    def table(self) -> pd.DataFrame:
        shapes = [np.shape(distance) for distance in self.distances]
        ids = [hashlib.sha256(d.tobytes() + s.encode()).hexdigest()[:16] for d, s in self._pairs()]
        return pd.DataFrame(
            {
                "capture_id": ids,
                "scene": self.scenes,
                "split": "test",
                "distance_m": np.nan,
                "height_px": [shape[0] for shape in shapes],
                "width_px": [shape[1] for shape in shapes],
            }
        )

    def _pairs(self):
        return zip(self.distances, self.scenes, strict=True)

    @property
    def digest(self) -> str:
        return hashlib.sha256("".join(sorted(self.table["capture_id"])).encode()).hexdigest()[:16]

    def __len__(self) -> int:
        return len(self.distances)

    @property
    def sources(self) -> list[str]:
        return [
            "photographed" if index in self.photographed else "simulated"
            for index in range(len(self))
        ]

    def distance_map(self, index: int) -> Map:
        return self.distances[index]

    def texture(self, index: int) -> Map | None:
        return self.textures[index]

    def placement(self, index: int) -> Placement:
        return Placement()

    def image(self, index: int) -> Map:
        return self.images[index]

    def reordered(self, order: Sequence[int]) -> FakeCaptures:
        return FakeCaptures(
            self.camera,
            [self.distances[i] for i in order],
            [self.textures[i] for i in order],
            [self.scenes[i] for i in order],
        )


def _prediction_of(distance: Map, sd_dpt: Map | float = 0.1) -> Prediction:
    """Gaussian in dioptres around a distance map."""
    sd = np.broadcast_to(np.asarray(sd_dpt, np.float32), distance.shape)
    inverse = 1.0 / distance
    ends = {
        level: (
            np.asarray(1.0 / (inverse + NORMAL_Z[level] * sd), np.float32),
            np.asarray(1.0 / np.maximum(inverse - NORMAL_Z[level] * sd, 1e-3), np.float32),
        )
        for level in INTERVAL_LEVELS
    }
    return Prediction(np.asarray(distance, np.float32), ends, sd)


def _noisy_model(
    captures: FakeCaptures, sd_dpt: float, seed: int = 0
) -> Callable[[int], Prediction]:
    """Truth plus Gaussian noise of a known, varying deviation in dioptres."""

    def model(index: int) -> Prediction:
        truth = np.where(captures.distances[index] > 0, captures.distances[index], 1.0)
        key = int(captures.table["capture_id"].iloc[index], 16)
        generator = np.random.default_rng([seed, key])
        sd = sd_dpt * generator.uniform(0.2, 1.8, truth.shape).astype(np.float32)
        inverse = 1.0 / truth + sd * generator.standard_normal(truth.shape, dtype=np.float32)
        return _prediction_of((1.0 / np.maximum(inverse, 0.05)).astype(np.float32), sd)

    return model


@pytest.fixture
def params() -> Parameters:
    return Parameters(camera=CameraParams(width_px=64, height_px=48))


@pytest.fixture
def camera(params: Parameters) -> Camera:
    return Camera.from_params(params.camera)


@pytest.fixture
def captures(camera: Camera) -> FakeCaptures:
    """Six captures of four scenes: slanted planes with a box in front and unknown spots."""
    generator = np.random.default_rng(7)
    distances, textures = [], []
    for _ in range(6):
        near, far = np.sort(generator.uniform(0.6, 4.4, 2))
        plane = np.linspace(far, near, 48)[:, None] * np.ones((48, 64))
        plane[10:25, 20:40] = generator.uniform(0.7, 1.2)
        plane[generator.uniform(size=plane.shape) < 0.02] = 0.0
        distances.append(plane.astype(np.float32))
        textures.append(generator.lognormal(-4, 2, plane.shape).astype(np.float32))
    scenes = ["a", "b", "b", "c", "motorcycle", "a"]
    return FakeCaptures(camera, distances, textures, scenes)


@pytest.fixture
def prediction_of() -> Callable[..., Prediction]:
    return _prediction_of


@pytest.fixture
def noisy_model() -> Callable[..., Callable[[int], Prediction]]:
    return _noisy_model


def _capture(role, split, metres, number):
    frame = torch.full((48, 64), metres)
    frame[:24] *= 2  # the upper half is twice as far
    frame[0] = 0
    image = torch.rand(3, 48, 64, generator=torch.Generator().manual_seed(number))
    known = {"distance_m": metres} if role == "chart" else {"distance_map": frame}
    return Capture(image, role, f"{role}-{split}-{number}", split, **known)


def labelled_set(folder: Path, *specs: tuple[str, str, float]) -> CaptureSet:
    """Write captures of `(role, split, distance [m])`."""
    captures = [_capture(*spec, number) for number, spec in enumerate(specs)]
    return write_captures(folder / "set", CAMERA, captures)
