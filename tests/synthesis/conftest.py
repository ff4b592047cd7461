"""Textures of the training split, and the small simulated camera."""

from __future__ import annotations

import pytest
import torch

from rangefinder.camera import Camera
from rangefinder.config import Parameters
from rangefinder.optics.psf_bank import PsfBank
from rangefinder.synthesis.textures import TextureSampler, make_texture, texture_specs

from ..simulated_camera import CAMERA, PARAMS, gaussian_bank


@pytest.fixture(scope="session")
def params() -> Parameters:
    return PARAMS


@pytest.fixture(scope="session")
def camera() -> Camera:
    return CAMERA


@pytest.fixture(scope="session")
def bank() -> PsfBank:
    return gaussian_bank()


@pytest.fixture(scope="session")
def textures() -> list[tuple[str, torch.Tensor]]:
    """Source and pixels of textures of the training split."""
    return [(spec.source, make_texture(spec)) for spec in texture_specs(0, 256, {"train": 60})]


@pytest.fixture
def sampler(textures: list[tuple[str, torch.Tensor]], params: Parameters) -> TextureSampler:
    return TextureSampler(textures, params.captures)
