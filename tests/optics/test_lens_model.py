"""The parametric lens: thin-lens discs, field curvature, vignetting, aberrations, stops."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from rangefinder.camera import Camera
from rangefinder.config import BankParams
from rangefinder.optics.blur import blur_px, disc_px
from rangefinder.optics.lens_model import LensModel, LensShape, Points
from rangefinder.optics.psf_tracing import Sampling

CAMERA = Camera(width_px=96, height_px=72, pixel_pitch_um=100.0, f_number=2.0, focus_distance_m=1.5)
RESPONSE = Sampling.of(CAMERA, BankParams(kernel_px=41, gaussian_px=0.0, subpixel=3)).response
PIXEL_PX2 = 1 / 12 + 1 / 108  # variance that pixels and splatting add, in each direction


def kernel(distance_m: float, radius=0.0, angle=0.0, colour=1, stop=1.0, **shape: float):
    open_ = replace(
        LensShape.of(CAMERA), front_shift=0.0, rear_shift=0.0, front_radius=9.0, rear_radius=9.0
    )
    model = LensModel(CAMERA, replace(open_, **shape))
    points = Points(*(np.array([x]) for x in (distance_m, radius, angle)), np.array([colour]))
    kernels, light = model.kernels(points, RESPONSE, stop)
    return kernels[0], float(light[0])


def spread_px(one) -> tuple[float, float]:
    """Standard deviations over columns and rows."""
    reach = np.arange(one.shape[0]) - one.shape[0] // 2
    return tuple(math.sqrt(one.sum(axis) @ reach**2 - PIXEL_PX2) for axis in (0, 1))


@pytest.mark.parametrize("distance_m", [0.8, 1.1, 3.0])
def test_without_aberrations_the_kernel_is_the_disc_of_a_thin_lens(distance_m):
    found, light = kernel(distance_m)
    assert found.sum() == pytest.approx(1.0)
    assert light == pytest.approx(1.0)
    expected = math.sqrt(float(blur_px(CAMERA, distance_m)) ** 2 + 16 * PIXEL_PX2)
    assert disc_px(torch.from_numpy(found)) == pytest.approx(expected, rel=0.02)
    np.testing.assert_allclose(found, found[::-1], atol=2e-4)


def test_a_smaller_stop_narrows_the_disc_and_passes_its_share_of_the_light():
    wide, narrow = kernel(0.8), kernel(0.8, stop=0.5)
    assert spread_px(narrow[0])[0] == pytest.approx(spread_px(wide[0])[0] / 2, rel=0.05)
    assert narrow[1] == pytest.approx(1 / 4)


def test_colours_have_their_own_focus():
    px = LensModel(CAMERA, LensShape.of(CAMERA)).px_per_dpt
    green = spread_px(kernel(1.0)[0])[0]
    red = spread_px(kernel(1.0, colour=0, red_dpt=0.1)[0])[0]
    assert 4 * (green - red) == pytest.approx(0.1 * px, rel=0.05)  # a disc's sd is a quarter


def test_astigmatism_spreads_light_along_and_across_the_field():
    along, across = spread_px(kernel(1.5, radius=1.0, tangential_dpt=1.2, sagittal_dpt=0.4)[0])
    assert along == pytest.approx(3 * across, rel=0.1)
    turned = kernel(1.5, radius=1.0, angle=math.pi / 2, tangential_dpt=1.2, sagittal_dpt=0.4)[0]
    assert spread_px(turned)[1] == pytest.approx(along, rel=0.02)


def test_vignetting_narrows_the_pupil_along_the_field_on_both_sides():
    found, light = kernel(
        0.8, radius=1.0, front_shift=0.6, rear_shift=0.6, front_radius=1.1, rear_radius=1.1
    )
    along, across = spread_px(found)
    assert light < 0.6
    assert along < 0.6 * across
    assert (
        kernel(0.8, radius=0.0, front_shift=0.6, rear_shift=0.6, front_radius=1.1, rear_radius=1.1)[
            1
        ]
        > 0.99
    )


def test_spherical_aberration_tells_the_sides_of_the_focus_apart():
    near, far = kernel(1.15, spherical_dpt=0.3)[0], kernel(2.2, spherical_dpt=0.3)[0]
    assert (near.max() > 1.3 * far.max()) or (far.max() > 1.3 * near.max())


def test_lateral_colour_moves_red_along_the_field():
    moved = kernel(1.5, radius=0.5, angle=math.pi, colour=0, red_px=2.0)[0]
    reach = np.arange(41) - 20
    assert moved.sum(0) @ reach == pytest.approx(-1.0, abs=0.02)
    assert moved.sum(1) @ reach == pytest.approx(0.0, abs=0.02)
