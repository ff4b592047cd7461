"""A tiny teacher and the photos it sweeps."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from rangefinder.camera import Camera
from rangefinder.captures.manifest import Capture, CaptureSet, write_captures
from rangefinder.config import CacheParams, PredictionParams, TeacherParams
from rangefinder.coordinates import Placement
from rangefinder.models.card import Card
from rangefinder.models.model_files import TrainedModel
from rangefinder.models.teacher import Teacher

CAMERA = Camera(width_px=96, height_px=72)
PARAMS = CacheParams(patch_batch=50, check_patches=40, audit_photos=4, audit_patches=60)
SHAPES = ((72, 96), (60, 80), (41, 96))
PHOTOS = 14


def make_teacher(weights: int = 3, **changes) -> TrainedModel:
    """A teacher with random weights whose predictions differ from place to place."""
    torch.manual_seed(weights)
    options = TeacherParams(stem_channels=(8, 12), channels=16, blocks=2, stem_blocks=1)
    prediction = PredictionParams(bins=12)
    network = Teacher(options, prediction.bins)
    for parameter in network.parameters():
        parameter.data += 0.1 * torch.randn_like(parameter)
    card = Card(
        kind="teacher",
        camera=CAMERA,
        camera_fingerprint=CAMERA.fingerprint,
        teacher=options,
        prediction=prediction,
        patch_px=network.patch_px,
        stride_px=network.stride_px,
        dataset="0" * 16,
        seed=0,
    )
    return TrainedModel(network, card.model_copy(update=changes))


def make_photo(index: int) -> Capture:
    """A photo of noise; several sizes and places on the sensor."""
    generator = torch.Generator().manual_seed(index)
    height, width = SHAPES[index % len(SHAPES)]
    return Capture(
        image=torch.rand(3, height, width, generator=generator),
        role="unlabelled",
        scene=f"photo-{index}",
        split="train",
        placement=Placement((float(index % 5), 0.0)),
    )


@pytest.fixture(scope="session")
def teacher() -> TrainedModel:
    return make_teacher()


@pytest.fixture(scope="session")
def photos(tmp_path_factory: pytest.TempPathFactory) -> CaptureSet:
    folder = tmp_path_factory.mktemp("photos") / "captures"
    return write_captures(folder, CAMERA, map(make_photo, range(PHOTOS)))


def some(photos: CaptureSet, count: int) -> CaptureSet:
    """The first `count` of them."""
    return replace(photos, table=photos.table.head(count))


def content(folder: Path) -> dict[str, bytes]:
    """Every file of a folder."""
    return {path.name: path.read_bytes() for path in folder.iterdir()}
