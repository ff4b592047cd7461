"""A small camera with a Gaussian PSF bank, and parameters of a few simulated captures."""

from __future__ import annotations

import torch

from rangefinder.camera import Camera
from rangefinder.config import Parameters
from rangefinder.optics.psf_bank import PsfBank

PARAMS = Parameters.model_validate(
    {
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
)
CAMERA = Camera.from_params(PARAMS.camera)


def gaussian_bank() -> PsfBank:
    """Gaussian kernels that widen away from 1.5 m, the same for all colours and places."""
    planes, size = 8, 9
    near_m, far_m = PARAMS.range.working_m
    inverse_dpt = torch.linspace(1 / far_m, 1 / near_m, planes, dtype=torch.float64)
    step = torch.arange(size) - size // 2
    sd_px = 0.5 + 2 * (inverse_dpt - 1 / 1.5).abs().float()
    line = torch.exp(-(step**2) / (2 * sd_px[:, None] ** 2))
    kernel = line[:, :, None] * line[:, None, :]
    kernel /= kernel.sum(dim=(1, 2), keepdim=True)
    return PsfBank(
        kernels=kernel[:, None, None, None].expand(planes, 3, 3, 3, size, size).contiguous(),
        relative_illumination=torch.ones(planes, 3, 3),
        inverse_distance_dpt=inverse_dpt,
        field_y_px=torch.linspace(0, CAMERA.height_px, 3, dtype=torch.float64),
        field_x_px=torch.linspace(0, CAMERA.width_px, 3, dtype=torch.float64),
        camera=CAMERA.fingerprint,
        fingerprint="0" * 16,
    )
