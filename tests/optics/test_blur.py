"""Blur diameter: of a thin lens, and of a lens with a PSF bank."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from rangefinder.camera import Camera
from rangefinder.config import BankParams, LensParams
from rangefinder.errors import LensError
from rangefinder.optics.blur import (
    ThinBlur,
    TracedBlur,
    blur_px,
    disc_px,
    from_lens_m,
    image_distance_m,
    pixel_m,
)
from rangefinder.optics.psf_bank import build_bank

COARSE = BankParams(distances=9, field_rows=3, field_cols=5, kernel_px=37, pupil_samples=81)
WORKING_M = (0.7, 5.0)
MIDDLE, CORNER = (240.0, 180.0), (480.0, 360.0)


def traced(camera: Camera) -> TracedBlur:
    return build_bank(camera, COARSE, WORKING_M).blur()


@pytest.fixture(scope="module")
def gauss() -> TracedBlur:
    return traced(Camera(lens=LensParams(name="DoubleGauss"), f_number=2.0))


def test_a_thin_lens_blurs_alike_everywhere():
    blur = ThinBlur(Camera())
    for place in (MIDDLE, CORNER):
        assert blur.diameter_px(1.25, *place) == pytest.approx(float(blur_px(Camera(), 0.8)))
    assert blur.diameter_px(1 / 3, *MIDDLE) == pytest.approx(0, abs=1e-9)


@pytest.mark.parametrize("node", [0, 6, 8])
def test_kernels_of_a_thin_lens_have_the_width_of_its_geometry(node):
    thin = Camera(
        f_number=2.4,
        lens=LensParams(kind="thin", axial_colour=0.0, secondary_spectrum=0.0, spherical=0.0),
    )
    blur = traced(thin)
    inverse_dpt = float(blur.inverse_dpt[node])
    pixel_sd = np.hypot(COARSE.gaussian_px, 12**-0.5)
    expected = np.hypot(blur_px(thin, 1 / inverse_dpt), 4 * pixel_sd)
    assert blur.diameter_px(inverse_dpt, *MIDDLE) == pytest.approx(expected, rel=0.03)


def test_a_real_lens_is_not_sharp_at_its_focus_and_blurs_its_corners_less(gauss):
    assert gauss.diameter_px(1 / 3, *MIDDLE) > 2
    assert gauss.diameter_px(1.4, *CORNER) < 0.7 * gauss.diameter_px(1.4, *MIDDLE)


def test_between_nodes_it_is_between_and_beyond_them_that_of_the_last(gauss):
    near = gauss.diameter_px(float(gauss.inverse_dpt[-1]), *MIDDLE)
    next_one = gauss.diameter_px(float(gauss.inverse_dpt[-2]), *MIDDLE)
    between = gauss.diameter_px(float(gauss.inverse_dpt[-2:].mean()), *MIDDLE)
    assert between == pytest.approx((near + next_one) / 2)
    assert gauss.diameter_px(9.0, *MIDDLE) == near
    assert gauss.diameter_px(1.0, 600.0, 500.0) == gauss.diameter_px(1.0, *CORNER)
    assert gauss.diameter_px(1.0, -9.0, -9.0) == gauss.diameter_px(1.0, 0.0, 0.0)


def test_what_is_written_is_read_again(gauss, tmp_path):
    gauss.save(tmp_path / "blur.safetensors")
    again = TracedBlur.load(tmp_path / "blur.safetensors")
    assert again.fingerprint == gauss.fingerprint != ThinBlur(Camera()).fingerprint
    assert again.diameter_px(0.9, 100.0, 100.0) == gauss.diameter_px(0.9, 100.0, 100.0)


@pytest.mark.parametrize("damage", [b"", b"nothing", None])
def test_a_damaged_file_is_refused(gauss, tmp_path, damage):
    path = tmp_path / "blur.safetensors"
    gauss.save(path)
    path.write_bytes(path.read_bytes()[:200] if damage is None else damage)
    with pytest.raises(LensError, match="holds no blur diameters"):
        TracedBlur.load(path)


def test_blur_is_zero_at_focus_and_follows_thin_lens_geometry_elsewhere():
    camera = Camera(f_number=2.0, distance_reference="entrance_pupil", focus_distance_m=1.5)
    assert blur_px(camera, 1.5) == pytest.approx(0, abs=1e-9)
    image_m = image_distance_m(camera)
    sharp_m = 1 / (1 / 0.05 - 1 / 3.0)  # where a point at 3 m is imaged
    expected_m = 0.025 * (image_m - sharp_m) / sharp_m
    assert blur_px(camera, 3.0) * camera.pixel_pitch_um * 1e-6 == pytest.approx(expected_m)
    assert pixel_m(camera, 3.0) == pytest.approx(3.0 * camera.pixel_pitch_um * 1e-6 / image_m)
    assert from_lens_m(Camera(), 1.5) + image_distance_m(Camera()) == pytest.approx(1.5)


def test_sensor_to_object_is_lens_to_sensor_and_lens_to_object():
    image_m = image_distance_m(Camera(focus_distance_m=1.5))
    assert 1 / image_m + 1 / (1.5 - image_m) == pytest.approx(1 / 0.05)


def test_blur_of_a_disc_is_its_diameter():
    place = np.hypot(*np.mgrid[-20:21, -20:21])
    disc = torch.from_numpy((place <= 15.0).astype(float))
    assert disc_px(torch.roll(disc, 3, 0)) == pytest.approx(30.0, rel=0.02)


@pytest.mark.parametrize("lens", [LensParams(kind="thin"), LensParams()])
@pytest.mark.parametrize("reference", ["sensor", "entrance_pupil"])
def test_an_offset_moves_the_zero_of_all_distances_towards_the_scene(lens, reference):
    plain = Camera(lens=lens, distance_reference=reference, focus_distance_m=1.5)
    moved = plain.model_copy(update={"focus_distance_m": 1.4, "distance_offset_m": 0.1})
    assert from_lens_m(moved, 0.9) == pytest.approx(from_lens_m(plain, 1.0))
    assert image_distance_m(moved) == pytest.approx(image_distance_m(plain))
    few = COARSE.model_copy(update={"distances": 2, "field_cols": 3, "pupil_samples": 31})
    expected, found = (
        build_bank(camera, few, range_m).kernels
        for camera, range_m in ((plain, (1.0, 5.0)), (moved, (0.9, 4.9)))
    )
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-5)
