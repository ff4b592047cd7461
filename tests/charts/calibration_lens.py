"""A small camera whose lens is known, and pairs of photos through it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from scipy import ndimage
from scipy.signal import fftconvolve

from rangefinder.camera import Camera
from rangefinder.config import BankParams
from rangefinder.optics.lens_model import LensModel, LensShape, Points
from rangefinder.optics.psf_tracing import Sampling

CAMERA = Camera(
    name="small",
    focal_length_mm=50.0,
    f_number=2.8,
    pixel_pitch_um=100.0,
    width_px=144,
    height_px=108,
    focus_distance_m=1.5,
)
SHARP_F_NUMBER = 16.0
DISTANCES_M = (0.8, 1.0, 1.3, 1.8, 2.6, 5.0)
BANK = BankParams(distances=7, field_rows=3, field_cols=3, kernel_px=21, gaussian_px=0.4)


def lens(**values: float) -> LensModel:
    """The thin lens of the camera without vignetting, but for some parameters."""
    shape = replace(
        LensShape.of(CAMERA), front_shift=0.0, rear_shift=0.0, front_radius=9.0, rear_radius=9.0
    )
    return LensModel(CAMERA, replace(shape, **values))


def texture(seed: int, height: int = 148, width: int = 184):
    """Coloured noise `[3, height, width]` with detail of all sizes, 0.1 to 0.9."""
    generator = np.random.default_rng(seed)
    grey = sum(
        ndimage.gaussian_filter(generator.standard_normal((height, width)), sd) * sd
        for sd in (0.7, 1.5, 4.0)
    )
    light = np.stack([grey + 0.2 * generator.standard_normal(grey.shape) for _ in range(3)])
    light = 0.5 + 0.16 * light / light.std()
    return light.clip(0.1, 0.9)


def photo(model: LensModel, light, distance_m: float, f_number: float | None = None, noise=0.0):
    """`light` at a distance through the middle of the lens's field, `[3, 108, 144]`."""
    stop = 1.0 if f_number is None else model.shape.f_number / f_number
    response = Sampling.of(CAMERA, BANK).response
    points = Points(np.full(3, distance_m), np.zeros(3), np.zeros(3), np.arange(3))
    kernels, _ = model.kernels(points, response, stop)
    blurred = np.stack([fftconvolve(x, k, "same") for x, k in zip(light, kernels, strict=True)])
    generator = np.random.default_rng(5)
    blurred += noise * generator.standard_normal(blurred.shape)
    return blurred[:, 20:-20, 20:-20].clip(0, 1).astype(np.float32)
