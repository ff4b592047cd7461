"""Focal length, stop and widest pupil of a lens are those of its prescription, traced."""

from __future__ import annotations

import numpy as np
import pytest

from rangefinder.errors import LensError
from rangefinder.optics.lens_data import lens_data
from rangefinder.optics.prescription import focused_lens, focused_optic

from .small_lenses import EVEN, ODD, camera_for, singlet, write

GREEN_UM = np.array([0.535])


def real_focal_length_mm(optic) -> float:
    """By a real ray near the axis: its height in front of the lens over its slope behind."""
    from optiland.rays import RealRays

    rays = RealRays(0.0, 0.01, -1.0, 0.0, 0.0, 1.0, 1.0, optic.primary_wavelength)
    optic.surfaces.trace(rays, skip=1)
    return float(-0.01 * rays.N[0] / rays.M[0])


@pytest.mark.parametrize(
    ("kind", "parms"), [("EVENASPH", EVEN), ("EVENASPH", {1: 2e-3, 2: -1e-6}), ("ODDASPHE", ODD)]
)
def test_the_focal_length_is_that_of_rays_near_the_axis(tmp_path, kind, parms):
    lens = lens_data(
        camera_for(write(tmp_path, singlet(kind, parms).replace("DISZ 43.2", "DISZ 0")))
    )
    assert lens.focal_length_mm == pytest.approx(real_focal_length_mm(lens.optic), rel=1e-4)
    assert lens.aspheres == 1
    assert lens.surfaces == 3


def test_a_focal_length_that_the_header_states_does_not_count(tmp_path):
    text = singlet().replace("NAME small", "NAME 85 mm f/1.2\nNOTE 0 EFL 85.0")
    assert lens_data(camera_for(write(tmp_path, text))).focal_length_mm == pytest.approx(
        50.129, abs=1e-3
    )


@pytest.mark.parametrize(
    ("aperture", "front", "f_number"),
    [
        ("FNUM 4 0", "DIAM 8 1", 4.0),
        ("ENPD 10.0", "DIAM 8 1", 5.0129),
        ("", "DIAM 8 1", 3.1331),  # 50.129 / 16
        ("", "DIAM 8", 3.1331),
        ("FNUM 0.9 0", "DIAM 8 1", 3.1331),  # a header that the glass does not let through
        ("FNUM 4 0", "DIAM 5 1\n  FLAP 0 5 0", 5.0129),
        ("FNUM 4 0", "DIAM 5 0", 4.0),  # made to fit: no limit
    ],
)
def test_the_lowest_f_number_is_what_aperture_and_clear_diameters_let_through(
    tmp_path, aperture, front, f_number
):
    lens = lens_data(camera_for(write(tmp_path, singlet(aperture=aperture, front=front))))
    assert lens.f_number == pytest.approx(f_number, rel=1e-3)


def test_the_clear_diameter_of_the_stop_counts_where_no_aperture_is_stated(tmp_path):
    text = singlet(aperture="FLOA", front="").replace("  STOP\n", "  STOP\n  DIAM 4.0 1\n")
    lens = lens_data(camera_for(write(tmp_path, text)))
    beam = 4.0 / lens.pupil_mm * 2  # how far the beam has narrowed at the stop
    assert beam == pytest.approx((50.129 - 43.2 - 3.0 + 3.0) / 50.129 * -1 + 1, abs=0.01)
    assert lens_data(
        camera_for(write(tmp_path, text.replace("FLOA", "FNUM 4 0"), "b.zmx"))
    ).f_number == pytest.approx(4.0)


def test_without_a_stop_the_limiting_surface_is_it_and_the_camera_closes_it(tmp_path):
    path = write(tmp_path, singlet(aperture="", stop=False, back="DIAM 6 1"))
    lens = lens_data(camera_for(path))
    assert lens.optic.surfaces.stop_index == 2
    optic = focused_optic(camera_for(path, f_number=8.0))
    assert optic.surfaces[2].aperture.r_max < 6.0 * 0.75
    assert optic.surfaces[1].aperture.r_max == pytest.approx(8.0, rel=5e-3)


def test_without_a_stop_and_clear_diameters_a_lens_is_refused(tmp_path):
    path = write(tmp_path, singlet(stop=False, front=""))
    with pytest.raises(LensError, match=r"small\.zmx.*neither a stop nor clear diameters"):
        lens_data(camera_for(path))


def test_without_any_aperture_the_camera_decides(tmp_path):
    path = write(tmp_path, singlet(aperture="", front=""))
    assert lens_data(camera_for(path)).f_number == 0.0
    lens = focused_lens(camera_for(path, f_number=7.0), GREEN_UM)
    assert lens.pupil_radius_mm == pytest.approx(50.0 / 14.0)


def test_a_camera_wider_than_its_lens_is_refused_with_both_numbers(tmp_path):
    path = write(tmp_path, singlet())
    with pytest.raises(LensError, match=r"small\.zmx.*f_number 3; expected at least 4\.0"):
        focused_optic(camera_for(path, f_number=3.0))


def test_a_narrower_camera_stops_the_lens_down_and_keeps_its_clear_diameters(tmp_path):
    path = write(tmp_path, singlet(front="DIAM 7 1"))
    wide, narrow = (
        focused_lens(camera_for(path, f_number=number), GREEN_UM).surfaces[:, 3]
        for number in (4.0, 11.0)
    )
    assert narrow[2] == pytest.approx(wide[2] * 4 / 11, rel=1e-2)  # the stop
    np.testing.assert_allclose(narrow[:2], wide[:2])
    assert wide[0] == pytest.approx(7.0 * 50.0 / 50.129, rel=1e-4)


def test_a_lens_that_does_not_focus_at_its_own_image_is_refused(tmp_path):
    path = write(tmp_path, singlet().replace("DISZ 43.2", "DISZ 3.0"))
    with pytest.raises(LensError, match=r"small\.zmx does not focus.*46\.\d+ mm.*6\.00 mm"):
        lens_data(camera_for(path))


@pytest.mark.parametrize(
    ("kind", "parms", "message"),
    [("ODDASPHE", {1: 0.01}, "a cone"), ("STANDARD", {}, "makes no image")],
)
def test_what_makes_no_image_is_refused(tmp_path, kind, parms, message):
    text = singlet(kind, parms)
    if kind == "STANDARD":
        text = text.replace("CURV 0.0386", "CURV -0.0386")
    with pytest.raises(LensError, match=rf"small\.zmx.*{message}"):
        lens_data(camera_for(write(tmp_path, text)))


def test_a_lens_that_faces_its_sensor_is_refused(tmp_path):
    path = write(tmp_path, singlet().replace("DISZ INFINITY", "DISZ 20"))
    with pytest.raises(LensError, match=r"small\.zmx is laid out the other way round"):
        lens_data(camera_for(path))
