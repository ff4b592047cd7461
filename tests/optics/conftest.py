"""Banks of point spread functions: of a traced lens, and of soft discs."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from rangefinder.camera import Camera
from rangefinder.config import BankParams, LensParams
from rangefinder.optics.psf_bank import PsfBank, build_bank

WORKING_M = (0.7, 5.0)
CAMERA = Camera(lens=LensParams(name="DoubleGauss"), f_number=2.0, focus_distance_m=1.5)
COARSE = BankParams(distances=5, field_rows=3, field_cols=5, kernel_px=31, pupil_samples=121)


@pytest.fixture(scope="session")
def bank() -> PsfBank:
    """A 50 mm f/2 double Gauss focused at 1.5 m, at few distances and nodes."""
    return build_bank(CAMERA, COARSE, WORKING_M)


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
        relative_illumination=torch.ones(25, 2, 2),
        inverse_distance_dpt=torch.from_numpy(inverse),
        field_y_px=torch.tensor([0.0, 64.0], dtype=torch.float64),
        field_x_px=torch.tensor([0.0, 80.0], dtype=torch.float64),
        camera="test",
        fingerprint="test",
    )
