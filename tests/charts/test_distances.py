"""Distances to photograph charts at follow from the lens."""

import re

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


DRONE = Camera(
    focal_length_mm=24,
    f_number=2.8,
    pixel_pitch_um=4.4,
    width_px=5472,
    height_px=3648,
    focus_distance_m=80,
)
MACRO = Camera(
    focal_length_mm=60,
    f_number=2.8,
    pixel_pitch_um=6,
    width_px=1200,
    height_px=800,
    focus_distance_m=0.25,
)


def test_nobody_is_asked_for_more_photos_than_the_corners_need():
    plan = plan_distances(DRONE, (5.0, 40.0), "A3")
    assert {stop.poses for stop in plan} == {9}
    table = distance_table(plan, DRONE, "A3", 57)
    assert "From 5 m on it takes up to 2,970 photos of a sheet" in table
    assert "take 9 there, in its centre, edges and corners" in table


def test_sheets_that_are_smaller_than_a_patch_are_left_out_with_what_to_do_instead():
    plan = plan_distances(DRONE, (5.0, 40.0), "A3")
    small = [stop for stop in plan if stop.texture_px < 57]
    table = distance_table(plan, DRONE, "A3", 57)
    assert f"{len(plan) - len(small)} distances" in table
    assert "From 40 m on the texture of A3 is smaller than a patch (34 of 57 px)" in table
    assert "print A1, or photograph flat, textured walls" in table
    assert "smaller than a patch" not in distance_table(
        plan_distances(DRONE, (5.0, 40.0), "A1"), DRONE, "A1", 57
    )


def test_a_macro_camera_gets_centimetres_and_is_not_sent_to_a_printer_that_does_not_exist():
    table = distance_table(plan_distances(MACRO, (0.246, 0.254), "A6"), MACRO, "A6", 57)
    assert "distance [cm]" in table
    assert " 24.600 " in table
    assert " 0.00 " not in table
    assert "No printer prints at the 2900 dpi that a pixel sees: reduce the photos 3 times" in table
    assert "Reduce the photos 3 times, by area averages" in table


def test_blur_and_print_ask_for_one_reduction():
    macro = MACRO.model_copy(update={"pixel_pitch_um": 2.0, "f_number": 1.4, "width_px": 6000})
    plan = plan_distances(macro, (0.245, 0.256), "A6")
    table = distance_table(plan, macro, "A6", 57)
    asked = re.findall(r"educe the photos (\d+) times", table)
    assert len(asked) == 2
    assert len(set(asked)) == 1
