"""Printed sheets as references: placed, turned, sampled, and in the colours of the print."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import numpy as np
import pytest
from PIL import Image

from rangefinder.camera import Camera
from rangefinder.charts.detection import find_sheet
from rangefinder.charts.pair_windows import kernel_margin, pair_windows
from rangefinder.charts.printed_sheets import (
    PrintColours,
    SheetPhoto,
    SheetView,
    fit_colours,
    read_drawing,
)
from rangefinder.charts.registration import Registration
from rangefinder.charts.sheets import UNITS
from rangefinder.charts.simulated_sheets import largest_sheet, printed_light, simulate_sheets
from rangefinder.config import Parameters
from rangefinder.errors import CaptureError
from rangefinder.optics.psf_bank import build_bank
from rangefinder.optics.psf_sources import camera_record

PARAMS = Parameters.model_validate(
    {
        "camera": {
            "f_number": 4.0,
            "pixel_pitch_um": 80.0,
            "width_px": 240,
            "height_px": 180,
            "focus_distance_m": 1.5,
            "lens": {"kind": "thin"},
        },
        "bank": {"distances": 9, "field_rows": 3, "field_cols": 3, "kernel_px": 25},
        "range": {"working_m": [1.0, 3.0]},
    }
)


@cache
def camera() -> Camera:
    return camera_record(PARAMS.camera, None)


@cache
def photos() -> tuple[SheetPhoto, ...]:
    """Two sheets near the focus, found by their discs."""
    bank = build_bank(camera(), PARAMS.bank, PARAMS.range.working_m)
    distances = np.array([1.45, 1.7])
    taken = simulate_sheets(PARAMS, camera(), bank, distances, np.random.default_rng(0))
    return tuple(
        SheetPhoto(
            name="a",
            light=one.image.numpy(),
            clipped=np.zeros((180, 240), dtype=bool),
            view=SheetView(one.sheet.drawing, find_sheet(one.image), PARAMS.bank.gaussian_px),
            distance_m=one.distance_m,
        ).upright()
        for one in taken
    )


def likeness(photo: SheetPhoto, reference) -> float:
    """Correlation of green light on the sheet."""
    inside = ~photo.view.outside(3.0)
    return float(np.corrcoef(photo.light[1][inside], reference[1][inside])[0, 1])


def test_the_drawing_is_seen_where_the_photo_shows_it():
    for photo in photos():
        assert likeness(photo, photo.view.sampled(printed_light)) > 0.97


def test_a_sheet_upside_down_is_put_right():
    turned = np.diag([-1.0, -1.0, 1.0])
    turned[:2, 2] = UNITS
    photo = photos()[0]
    wrong = replace(photo, view=photo.view.through(photo.view.sheet.homography @ turned))
    assert likeness(wrong, wrong.view.sampled(printed_light)) < 0.7
    found = wrong.upright().view.sheet.homography
    np.testing.assert_allclose(found, photo.view.sheet.homography, rtol=1e-9, atol=1e-9)


def test_a_registration_moves_the_sheet():
    photo = photos()[0]
    moved = photo.registered(Registration(np.array([[1.0, 0, 3.0], [0, 1.0, -2.0]]), 0, 1, 0))
    before, after = (one.view.sampled(printed_light)[1] for one in (photo, moved))
    np.testing.assert_allclose(after[20:-20, 20:-20], before[18:-22, 23:-17], atol=0.02)


def test_colours_of_the_print_are_found():
    margin = kernel_margin(camera(), np.array([1.45, 1.7]))
    colours = PrintColours()
    for _ in range(2):
        found = []
        for photo in photos():
            seen, registered = pair_windows(photo.pair(colours), 0, camera(), margin)
            assert len(seen) > 4
            found.append((photo.registered(registered), seen))
        colours = fit_colours(found, camera().centre_px)
    inner = [one.view.drawing.values[:, 60:-60:5, 60:-60:5].reshape(3, -1) for one in photos()]
    values = np.concatenate(inner, axis=1).astype(np.float32) / 255
    expected = printed_light(values)

    def error(light) -> float:
        factor = (light * expected).sum() / (light**2).sum()
        return float((factor * light - expected).std() / expected.std())

    assert error(colours.light(values)) < 0.07
    assert error(colours.light(values)) < 0.5 * error(PrintColours().light(values))


def test_another_picture_is_no_drawing_of_a_sheet(tmp_path):
    path = tmp_path / "square.png"
    Image.fromarray(np.zeros((64, 64, 3), np.uint8)).save(path)
    with pytest.raises(CaptureError, match=r"square\.png is not the drawing of a sheet"):
        read_drawing(path)


def test_the_largest_sheet_that_fits_is_photographed():
    assert largest_sheet(camera(), 1.0) == "A4"
    assert largest_sheet(camera(), 3.0) == "A1"
    assert largest_sheet(camera(), 0.25) is None
