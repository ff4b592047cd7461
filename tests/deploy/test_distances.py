"""Distances to photograph charts at follow from the lens."""

import numpy as np
import pytest

from rangefinder.camera import Camera
from rangefinder.deploy.distances import STEP_PX, as_table, stops
from rangefinder.optics.geometry import blur_px, from_lens_m, image_distance_m, pixel_m


def test_distances_are_even_in_dioptres_and_close_in_blur():
    plan = stops(Camera(), (0.7, 5.0), "A3")
    distance = np.array([stop.distance_m for stop in plan])
    assert (distance[0], distance[-1]) == (pytest.approx(0.7), pytest.approx(5.0))
    assert np.ptp(np.diff(1 / distance)) < 1e-9
    assert np.abs(np.diff([stop.blur_px for stop in plan])).max() <= STEP_PX * 1.5


def test_a_slower_lens_needs_fewer_distances_and_a_count_is_kept():
    fast, slow = Camera(f_number=2.0), Camera(f_number=8.0)
    assert len(stops(slow, (0.7, 5.0), "A3")) < len(stops(fast, (0.7, 5.0), "A3"))
    assert len(stops(fast, (0.7, 5.0), "A3", 5)) == 5


def test_sheets_fill_the_field():
    camera = Camera()
    for stop in stops(camera, (0.7, 5.0), "A4"):
        wide_m = camera.width_px * stop.sharp_mm / 1000
        texture_m = (24 * 2**0.5 - 4) / 24 * 0.210
        assert (stop.across - 1) * texture_m < wide_m <= stop.across * texture_m
    assert "photos of each sheet" in as_table(stops(camera, (0.7, 5.0), "A3"), camera, "A3")


def test_blur_is_none_at_focus_and_as_geometry_says_elsewhere():
    camera = Camera(f_number=2.0, distance_reference="entrance_pupil", focus_distance_m=1.5)
    assert blur_px(camera, 1.5) == pytest.approx(0, abs=1e-9)
    image_m = image_distance_m(camera)
    sharp_m = 1 / (1 / 0.05 - 1 / 3.0)  # where a point at 3 m is imaged
    expected_m = 0.025 * (image_m - sharp_m) / sharp_m
    assert blur_px(camera, 3.0) * camera.pixel_pitch_um * 1e-6 == pytest.approx(expected_m)
    assert pixel_m(camera, 3.0) == pytest.approx(3.0 * camera.pixel_pitch_um * 1e-6 / image_m)
    assert from_lens_m(Camera(), 1.5) + image_distance_m(Camera()) == pytest.approx(1.5)
