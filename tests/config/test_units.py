"""Lengths in another unit are refused with the guess; good ones and other parameters are not."""

from __future__ import annotations

import pytest

from rangefinder.config import CameraParams, RangeParams, parse
from rangefinder.errors import ConfigError

GOOD = {
    "focal_length_mm": 50,
    "f_number": 1.8,
    "pixel_pitch_um": 6,
    "width_px": 6000,
    "height_px": 4000,
    "focus_distance_m": 3,
}


def refusal(model, content):
    with pytest.raises(ConfigError) as caught:
        parse(model, content, "camera.yml")
    return str(caught.value)


@pytest.mark.parametrize(
    ("name", "value", "guess"),
    [
        ("focus_distance_m", 3000, "3000: millimetres? then 3.0"),
        ("focal_length_mm", 0.05, "0.05: metres? then 50.0"),
        ("pixel_pitch_um", 0.006, "0.006: millimetres? then 6.0"),
        ("pixel_pitch_um", 6e-6, "6e-06: metres? then 6.0"),
        ("pixel_pitch_um", 6000, "6000: nanometres? then 6.0"),
        ("focal_length_mm", "50 mm", "write 50"),
        ("focal_length_mm", "5cm", "write 50"),
        ("focus_distance_m", "300 cm", "write 3"),
        ("f_number", "f/1.8", "write 1.8"),
    ],
)
def test_a_value_in_another_unit_is_refused_with_the_guess(name, value, guess):
    message = refusal(CameraParams, GOOD | {name: value})
    assert guess in message
    assert name in message


@pytest.mark.parametrize(
    ("name", "value", "entry"),
    [
        ("focal_length", "50mm", "focal_length_mm: 50.0"),
        ("aperture", "f/1.8", "f_number: 1.8"),
        ("sensor_width_mm", 36, "pixel_pitch_um: 6 (sensor width / photo width)"),
        ("focus_distance_mm", 3000, "focus_distance_m: 3.0"),
        ("focus_distance_cm", 300, "focus_distance_m: 3.0"),
        ("pixel_pitch_nm", 6000, "pixel_pitch_um: 6.0"),
        ("pixel_pitch", 6, "pixel_pitch_um: 6"),
    ],
)
def test_an_entry_under_another_name_is_refused_with_the_right_one(name, value, entry):
    meant = entry.split(":")[0]
    given = {key: kept for key, kept in GOOD.items() if key != meant} | {name: value}
    assert f"perhaps {entry}; allowed here" in refusal(CameraParams, given)


@pytest.mark.parametrize("value", [-3, 0, "far", None, [3]])
def test_what_no_unit_explains_is_refused_without_a_guess(value):
    message = refusal(CameraParams, GOOD | {"focus_distance_m": value})
    assert "then" not in message
    assert "write" not in message


def test_a_range_in_millimetres_is_refused_with_the_guess():
    message = refusal(RangeParams, {"working_m": [700, 5000], "report_m": [0.7, 4.0]})
    assert "(700.0, 5000.0): millimetres? then (0.7, 5.0)" in message


@pytest.mark.parametrize("focus_m", [0.08, 0.25, 80, 500])
def test_close_and_far_focus_distances_are_allowed(focus_m):
    assert parse(CameraParams, GOOD | {"focus_distance_m": focus_m}, "").focus_distance_m == focus_m


def test_no_entry_is_offered_that_would_be_refused_too():
    assert "perhaps" not in refusal(CameraParams, {"focus_distance_mm": -3})


def test_a_wrong_key_of_a_glass_is_refused_with_those_it_may_have():
    lens = {"kind": "zemax", "file": "a.zmx", "glasses": {"X": {"nd": 1.5, "v": 60}}}
    message = refusal(CameraParams, {"lens": lens})
    assert "lens.glasses.X.v: unknown key (value 60); allowed here: nd, sellmeier, vd" in message
