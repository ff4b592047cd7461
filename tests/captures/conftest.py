"""Captures, photos and distance maps of random content."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from rangefinder.camera import Camera
from rangefinder.captures.manifest import Capture

from ..simulated_camera import CAMERA


@pytest.fixture
def camera() -> Camera:
    return CAMERA


@pytest.fixture
def labelled(generator: np.random.Generator) -> Capture:
    """A labelled capture of random pixels."""
    distance_m = torch.from_numpy(generator.uniform(0.7, 5, (48, 64)).astype(np.float32))
    distance_m[:4] = 0
    return Capture(
        image=torch.from_numpy(generator.random((3, 48, 64), dtype=np.float32)),
        role="labelled",
        scene="kitchen",
        split="test",
        distance_map=distance_m,
        texture=torch.from_numpy(generator.random((48, 64), dtype=np.float32)),
        texture_sources=("photo:camera", "leaves:test:0"),
        exposure=0.5,
    )


def save_photo(path: Path, seed: int = 0, size=(48, 64), **save: object) -> Path:
    """Save a photo of random pixels."""
    pixels = np.random.default_rng(seed).integers(0, 255, (*size, 3), dtype=np.uint8)
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path, **save)
    return path


def save_distances(path: Path, metres: float = 1.5, size=(48, 64)) -> Path:
    """Save a distance map of one distance, in millimetres."""
    Image.fromarray(np.full(size, metres * 1000, np.uint16)).save(path)
    return path


def table_of(folder: Path, *lines: str, mark: str = "\n", encoding: str = "utf-8") -> Path:
    path = folder / "captures.csv"
    path.write_bytes(mark.join([*lines, ""]).encode(encoding))
    return path
