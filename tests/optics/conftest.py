from __future__ import annotations

import numpy as np
import pytest
import torch

from rangefinder.optics.lens import PsfBank


def random_bank(
    height: int = 24, width: int = 32, planes: int = 5, kernel_px: int = 7, seed: int = 0
) -> PsfBank:
    """Kernels without any symmetry or smoothness, some narrower than the array."""
    rng = np.random.default_rng(seed)
    kernels = rng.random((planes, 3, 4, 3, kernel_px, kernel_px)) ** 4
    for plane in range(planes):
        edge = (planes - 1 - plane) % (kernel_px // 2 + 1)
        inside = np.zeros((kernel_px, kernel_px))
        inside[edge : kernel_px - edge, edge : kernel_px - edge] = 1.0
        kernels[plane] *= inside
    kernels /= kernels.sum((-1, -2), keepdims=True)
    return PsfBank(
        kernels=torch.from_numpy(kernels).float(),
        gain=torch.from_numpy(0.5 + 0.5 * rng.random((planes, 3, 4))).float(),
        inverse_distance_dpt=torch.linspace(0.2, 1.4, planes, dtype=torch.float64),
        field_y_px=torch.linspace(0, height, 3, dtype=torch.float64),
        field_x_px=torch.linspace(0, width, 4, dtype=torch.float64),
        camera="test",
        fingerprint="test",
    )


@pytest.fixture
def bank() -> PsfBank:
    return random_bank()


@pytest.fixture(scope="session")
def disc_bank() -> PsfBank:
    """Discs with soft edges, the same everywhere on the sensor: sharp at 0.8 dpt."""
    inverse = np.linspace(0.2, 1.4, 25)
    radius = np.abs(inverse - 0.8) * 10.0
    offset = np.arange(15) - 7
    place = np.hypot(offset[:, None], offset[None])
    kernels = np.clip(radius[:, None, None] + 1.0 - place, 0.0, 1.0)
    kernels /= kernels.sum((-1, -2), keepdims=True)
    kernels = np.broadcast_to(kernels[:, None, None, None], (25, 2, 2, 3, 15, 15))
    return PsfBank(
        kernels=torch.from_numpy(kernels.copy()).float(),
        gain=torch.ones(25, 2, 2),
        inverse_distance_dpt=torch.from_numpy(inverse),
        field_y_px=torch.tensor([0.0, 64.0], dtype=torch.float64),
        field_x_px=torch.tensor([0.0, 80.0], dtype=torch.float64),
        camera="test",
        fingerprint="test",
    )
