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
    """Save a distance map in millimetres: the right half is 20 % farther away."""
    distance_m = np.full(size, metres)
    distance_m[:, size[1] // 2 :] *= 1.2
    Image.fromarray(np.rint(distance_m * 1000).astype(np.uint16)).save(path)
    return path


def room(seed: int = 0, size=(120, 160), boxes: int = 6) -> tuple[np.ndarray, np.ndarray]:
    """A room with boxes: photo `[H, W, 3]` of 8 bits, and distances `[H, W]` [m] along the axis.

    Floor and walls are planes, whose inverse distances are affine in the pixels.
    """
    generator = np.random.default_rng(seed)
    rows, cols = np.mgrid[: size[0], : size[1]] / size[1]
    planes = (0.25 + 0 * rows, 0.2 + 0.9 * (rows - 0.35), 0.15 + 0.4 * cols)
    light = np.array([150.0, 90.0, 120.0])[np.argmax(planes, axis=0)]
    inverse = np.max(planes, axis=0)
    for _ in range(boxes):
        high, wide = (int(side * generator.uniform(0.15, 0.3)) for side in size)
        top, left = (
            int(generator.uniform(0, s - b)) for s, b in zip(size, (high, wide), strict=True)
        )
        box = np.s_[top : top + high, left : left + wide]
        nearer = inverse[box].max() * generator.uniform(1.1, 1.4)
        inverse[box] = nearer + generator.uniform(-0.3, 0.3) * cols[:high, :wide]
        light[box] = generator.uniform(40, 230)
    photo = np.clip(light[..., None] + generator.normal(0, 6, (*size, 3)), 0, 255)
    noise = 1 + generator.normal(0, 0.002, size)
    return photo.astype(np.uint8), (noise / inverse).astype(np.float32)


def table_of(folder: Path, *lines: str, mark: str = "\n", encoding: str = "utf-8") -> Path:
    path = folder / "captures.csv"
    path.write_bytes(mark.join([*lines, ""]).encode(encoding))
    return path
