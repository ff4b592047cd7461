"""Distances to photograph charts at follow from the lens."""

import numpy as np
import pytest

from rangefinder.camera import Camera
from rangefinder.charts.distances import STEP_PX, distance_table, plan_distances


def test_distances_are_even_in_dioptres_and_close_in_blur():
    plan = plan_distances(Camera(), (0.7, 5.0), "A3")
    distance = np.array([stop.distance_m for stop in plan])
    assert (distance[0], distance[-1]) == (pytest.approx(0.7), pytest.approx(5.0))
    assert np.ptp(np.diff(1 / distance)) < 1e-9
    assert np.abs(np.diff([stop.blur_px for stop in plan])).max() <= STEP_PX * 1.5


def test_a_slower_lens_needs_fewer_distances_and_a_count_is_kept():
    fast, slow = Camera(f_number=2.0), Camera(f_number=8.0)
    assert len(plan_distances(slow, (0.7, 5.0), "A3")) < len(plan_distances(fast, (0.7, 5.0), "A3"))
    assert len(plan_distances(fast, (0.7, 5.0), "A3", 5)) == 5


def test_sheets_fill_the_field():
    camera = Camera()
    for stop in plan_distances(camera, (0.7, 5.0), "A4"):
        wide_m = camera.width_px * stop.sharp_mm / 1000
        texture_m = (24 * 2**0.5 - 4) / 24 * 0.210
        assert (stop.across - 1) * texture_m < wide_m <= stop.across * texture_m
    assert "photos of each sheet" in distance_table(
        plan_distances(camera, (0.7, 5.0), "A3"), camera, "A3", 57
    )
