"""A tiny camera, untrained models of it, and random photos of its size."""

from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch
from PIL import Image

from rangefinder.camera import Camera
from rangefinder.captures.images import write_linear
from rangefinder.captures.manifest import Capture
from rangefinder.config import PredictionParams, StudentParams, TeacherParams
from rangefinder.models.calibration import CALIBRATION_LEVELS, Calibration
from rangefinder.models.card import Card
from rangefinder.models.model_files import TrainedModel, build_network, save_model
from rangefinder.photo_domain import Effect, PhotoDomain

CAMERA = Camera(
    name="tiny", f_number=2.0, width_px=64, height_px=48, pixel_pitch_um=300.0, focus_distance_m=1.5
)
CALIBRATION = Calibration(
    central=tuple(level**0.5 for level in CALIBRATION_LEVELS), tilt_power=-0.4
)
JPEG = Effect(error_ratio=3.0, coverage=0.4, central=tuple(x**0.2 for x in CALIBRATION_LEVELS))
PHOTOS = PhotoDomain(
    formats=("linear", "srgb"),
    statistics={"brightness": (-1.0, 0.0)},
    effects={"jpeg_420": (JPEG,), "jpeg_444": (JPEG,)},
)
SHAPE = TeacherParams(stem_channels=(4, 6), channels=8, blocks=1, stem_blocks=1)


def make_model(kind, camera=CAMERA, seed=0, **more):
    torch.manual_seed(1 + seed)
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
        seed=seed,
        **more,
    )
    return TrainedModel(build_network(card), card)


def make_capture(role="labelled", split="train", scene=None, seed=0, **more):
    """A capture of noise."""
    generator = torch.Generator().manual_seed(seed)
    image = torch.rand(3, CAMERA.height_px, CAMERA.width_px, generator=generator)
    return Capture(image, role, scene or f"{split}-{seed}", split, **more)


def make_calibrated_model(kind):
    """A model whose predictions differ from place to place, and that knows its photos' domain."""
    model = make_model(kind, calibration=CALIBRATION, photos=PHOTOS)
    generator = torch.Generator().manual_seed(5)
    for parameter in model.network.parameters():
        parameter.data += 0.2 * torch.randn(parameter.shape, generator=generator)
    return model


def random_pixels(width=64, height=48, seed=0):
    rng = np.random.default_rng(seed)
    return rng.integers(0, 256, (height, width, 3), dtype=np.uint8)


def save_models(folder):
    """Save a teacher and a student of the tiny camera in folders of these names."""
    for kind in ("teacher", "student"):
        save_model(folder / kind, make_model(kind))
    return folder


def save_photos(folder):
    """Save three photos: TIFF, PNG and JPEG."""
    folder.mkdir()
    noise = torch.rand(3, 48, 64, generator=torch.Generator().manual_seed(3))
    write_linear(folder / "a.tif", noise)
    Image.fromarray(random_pixels(seed=1)).save(folder / "b.png")
    Image.fromarray(random_pixels(seed=2)).save(folder / "c.jpg")
    return folder


def register_model(run, model, name, tags):
    """Register a model as a run does that has trained it."""
    with TemporaryDirectory() as folder:
        save_model(Path(folder) / model.card.kind, model)
        return run.register(Path(folder) / model.card.kind, name, tags)
