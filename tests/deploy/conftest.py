"""A tiny camera, untrained models of it, and photos that it might have taken."""

import numpy as np
import pytest
import torch
from PIL import Image

from rangefinder.camera import Camera
from rangefinder.captures.images import write_linear
from rangefinder.config import PredictionParams, StudentParams, TeacherParams
from rangefinder.models.io import Card, TrainedModel, build_network, save_model

CAMERA = Camera(
    name="tiny",
    f_number=2.0,
    width_px=64,
    height_px=48,
    pixel_pitch_um=300.0,
    focus_distance_m=1.5,
)
SHAPE = TeacherParams(stem_channels=(4, 6), channels=8, blocks=1, stem_blocks=1)


def make_model(kind, camera=CAMERA):
    torch.manual_seed(1)
    card = Card(
        kind=kind,
        camera=camera,
        camera_fingerprint=camera.fingerprint,
        teacher=SHAPE,
        student=StudentParams(channels=(6, 6, 6)) if kind == "student" else None,
        prediction=PredictionParams(bins=12),
        patch_px=17,
        stride_px=4,
        dataset="0" * 16,
        seed=0,
    )
    return TrainedModel(build_network(card), card)


@pytest.fixture(scope="session")
def models(tmp_path_factory):
    """Folder with a teacher and a student of the tiny camera."""
    folder = tmp_path_factory.mktemp("models")
    for kind in ("teacher", "student"):
        save_model(folder / kind, make_model(kind))
    return folder


def picture(width=64, height=48, seed=0):
    rng = np.random.default_rng(seed)
    return rng.integers(0, 256, (height, width, 3), dtype=np.uint8)


@pytest.fixture
def photos(tmp_path):
    """Folder with three photos: TIFF, PNG, JPEG."""
    folder = tmp_path / "photos"
    folder.mkdir()
    write_linear(
        folder / "a.tif", torch.rand(3, 48, 64, generator=torch.Generator().manual_seed(3))
    )
    Image.fromarray(picture(seed=1)).save(folder / "b.png")
    Image.fromarray(picture(seed=2)).save(folder / "c.jpg")
    return folder
