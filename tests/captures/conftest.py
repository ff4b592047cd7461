from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from rangefinder.camera import Camera
from rangefinder.captures.canvases import make_canvas, recipes
from rangefinder.captures.manifest import Capture
from rangefinder.captures.textures import Painter
from rangefinder.config import Parameters
from rangefinder.optics.lens import PsfBank

TINY = {
    "camera": {"width_px": 64, "height_px": 48},
    "captures": {
        "train_charts": 4,
        "validation_charts": 2,
        "unlabelled": 3,
        "validation": 2,
        "test": 2,
        "objects": [3, 6],
        "workers": 1,
    },
}


@pytest.fixture(scope="session")
def params() -> Parameters:
    return Parameters.model_validate(TINY)


@pytest.fixture(scope="session")
def camera(params: Parameters) -> Camera:
    return Camera.from_params(params.camera)


@pytest.fixture(scope="session")
def bank(params: Parameters, camera: Camera) -> PsfBank:
    """Gaussian kernels that widen away from 1.5 m, the same for all colours and places."""
    planes, size = 8, 9
    near_m, far_m = params.range.working_m
    inverse_dpt = torch.linspace(1 / far_m, 1 / near_m, planes, dtype=torch.float64)
    step = torch.arange(size) - size // 2
    sd_px = 0.5 + 2 * (inverse_dpt - 1 / 1.5).abs().float()
    line = torch.exp(-(step**2) / (2 * sd_px[:, None] ** 2))
    kernel = line[:, :, None] * line[:, None, :]
    kernel /= kernel.sum(dim=(1, 2), keepdim=True)
    return PsfBank(
        kernels=kernel[:, None, None, None].expand(planes, 3, 3, 3, size, size).contiguous(),
        gain=torch.ones(planes, 3, 3),
        inverse_distance_dpt=inverse_dpt,
        field_y_px=torch.linspace(0, camera.height_px, 3, dtype=torch.float64),
        field_x_px=torch.linspace(0, camera.width_px, 3, dtype=torch.float64),
        camera=camera.fingerprint,
        fingerprint="0" * 16,
    )


@pytest.fixture(scope="session")
def canvases() -> list[tuple[str, torch.Tensor]]:
    """Canvases of the training split."""
    return [(recipe.source, make_canvas(recipe)) for recipe in recipes(0, 256, {"train": 60})]


@pytest.fixture
def painter(canvases: list[tuple[str, torch.Tensor]], params: Parameters) -> Painter:
    return Painter(canvases, params.captures)


@pytest.fixture
def generator() -> np.random.Generator:
    return np.random.default_rng(7)


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


def photo(path: Path, seed: int = 0, size=(48, 64), **save: object) -> Path:
    pixels = np.random.default_rng(seed).integers(0, 255, (*size, 3), dtype=np.uint8)
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path, **save)
    return path


def distances(path: Path, metres: float = 1.5, size=(48, 64)) -> Path:
    Image.fromarray(np.full(size, metres * 1000, np.uint16)).save(path)
    return path
