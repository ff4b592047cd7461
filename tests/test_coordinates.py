"""Sensor locations of whole, cropped and binned images, and the patch grid."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rangefinder.camera import Camera
from rangefinder.coordinates import PatchGrid, Placement, grid_location, location_map
from rangefinder.errors import CaptureError

CAMERA = Camera(width_px=48, height_px=36)
SIDES = st.integers(9, 60)
GRIDS = st.builds(PatchGrid, SIDES, SIDES, st.integers(1, 9), st.integers(1, 7))


def test_axes_point_right_and_down_from_the_optical_centre():
    x, y = location_map(CAMERA, Placement(), 36, 48)
    assert x[0, 0] < 0 < x[0, -1]
    assert y[0, 0] < 0 < y[-1, 0]
    np.testing.assert_allclose(x[:, 0], -x[:, -1], atol=1e-7)
    np.testing.assert_allclose(y[0], -y[-1], atol=1e-7)


def test_the_unit_is_half_the_diagonal():
    corner = location_map(CAMERA, Placement((47.5, 35.5)), 1, 1)[:, 0, 0]
    assert np.hypot(*corner) == pytest.approx(1.0, abs=1e-6)


def test_a_moved_optical_centre_moves_the_origin():
    camera = Camera(width_px=48, height_px=36, optical_centre_px=(10.5, 20.5))
    assert location_map(camera, Placement(), 36, 48)[:, 20, 10].tolist() == [0.0, 0.0]


@given(left=st.integers(0, 30), top=st.integers(0, 20))
def test_a_crop_keeps_its_locations(left, top):
    whole = location_map(CAMERA, Placement(), 36, 48)
    crop = location_map(CAMERA, Placement().crop(left, top), 8, 8)
    np.testing.assert_allclose(crop, whole[:, top : top + 8, left : left + 8], atol=1e-6)


@given(binning=st.sampled_from([2, 3, 4]))
def test_a_binned_image_has_the_mean_location_of_its_pixels(binning):
    whole = location_map(CAMERA, Placement(), 36, 48)
    rows, cols = 36 // binning, 48 // binning
    binned = location_map(CAMERA, Placement(scale=binning), rows, cols)
    blocks = whole[:, : rows * binning, : cols * binning]
    means = blocks.reshape(2, rows, binning, cols, binning).mean(axis=(2, 4))
    np.testing.assert_allclose(binned, means, atol=1e-6)


def test_a_crop_of_a_binned_image_composes():
    placement = Placement((4.0, 6.0), 2.0).crop(3, 5)
    assert placement == Placement((10.0, 16.0), 2.0)


@given(GRIDS)
def test_patches_stay_inside_and_cover_the_image(grid):
    patch, stride = grid.patch_px, grid.stride_px
    last_row, last_col = (grid.rows - 1) * stride, (grid.cols - 1) * stride
    assert last_row + patch <= grid.height_px < last_row + patch + stride
    assert last_col + patch <= grid.width_px < last_col + patch + stride


@given(GRIDS)
def test_the_grid_of_the_covered_area_is_mirror_symmetric(grid):
    covered = PatchGrid(*grid.covered_px, grid.patch_px, grid.stride_px)
    assert (covered.rows, covered.cols) == (grid.rows, grid.cols)
    for centres, size in zip(covered.centres_px, grid.covered_px[::-1], strict=True):
        np.testing.assert_allclose(size - centres[::-1], centres)


def test_grid_locations_are_those_of_the_middle_pixels():
    grid = PatchGrid(36, 48, patch_px=9, stride_px=4)
    whole = location_map(CAMERA, Placement(), 36, 48)
    locations = grid_location(CAMERA, Placement(), grid)
    np.testing.assert_allclose(locations, whole[:, 4:-4:4, 4:-4:4], atol=1e-6)


def test_an_image_smaller_than_a_patch_is_refused():
    with pytest.raises(CaptureError, match="smaller than one patch; found 8x40 px"):
        PatchGrid(40, 8, patch_px=9, stride_px=4)


@pytest.mark.parametrize("scale", [0.0, -1.0, 1e-3, 65.0, 1e300, math.nan, math.inf])
def test_a_scale_that_no_photo_has_is_refused(scale):
    with pytest.raises(CaptureError, match=r"scale of 1/64 to 64"):
        Placement(scale=scale)


@pytest.mark.parametrize("place", [1e7, -1e7, math.nan, math.inf])
def test_an_origin_far_from_the_sensor_is_refused(place):
    with pytest.raises(CaptureError, match="cannot sit there"):
        Placement((0.0, place))


def test_a_photo_cannot_be_enlarged_beyond_what_its_camera_takes():
    half = Placement(scale=2.0)
    size = CAMERA.height_px // 2, CAMERA.width_px // 2
    assert half.size_on_sensor(CAMERA, *size) == (2 * size[0], 2 * size[1])
    with pytest.raises(CaptureError, match=r"larger than the camera's; found 28800x"):
        Placement(scale=60.0).size_on_sensor(CAMERA, 360, 480)
