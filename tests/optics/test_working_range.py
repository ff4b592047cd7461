"""Ranges of cameras as people have them: where blur fits, and where it tells distances apart."""

from __future__ import annotations

import pytest

from rangefinder.camera import Camera
from rangefinder.config import BankParams, IdentifiabilityParams
from rangefinder.errors import LensError
from rangefinder.optics.blur import blur_limits_m, blur_px, nearest_object_m
from rangefinder.optics.identifiability import gap_within, verdict
from rangefinder.optics.working_range import Observer, doubts, plan_working_range

PATCH_PX = 57
OBSERVER = Observer(
    BankParams(pupil_samples=65), IdentifiabilityParams(planes=32), patch_px=PATCH_PX
)


def camera(focal_mm, f_number, pitch_um, width_px, focus_m) -> Camera:
    return Camera.model_validate(
        {
            "focal_length_mm": focal_mm,
            "f_number": f_number,
            "pixel_pitch_um": pitch_um,
            "width_px": width_px,
            "height_px": width_px * 3 // 4,
            "focus_distance_m": focus_m,
        }
    )


FULL_FRAME = camera(50, 1.8, 6.0, 6000, 3.0)
SECURITY = camera(2.8, 1.6, 2.0, 1920, 4.0)
MACRO = camera(60, 2.8, 18.0, 400, 0.25)


def report(record: Camera) -> str:
    return "\n".join(plan_working_range(record, OBSERVER).report(record, OBSERVER))


def test_photos_whose_blur_is_more_than_a_patch_shows_are_to_be_reduced_once():
    text = report(FULL_FRAME)
    assert "Reduce the photos 5 times" in text
    assert "pixel_pitch_um: 30, width_px: 1200, height_px: 900" in text
    assert "Reduce" not in report(FULL_FRAME.reduced(5))


def test_a_camera_that_tells_little_far_away_is_to_be_used_near_and_says_from_where_not():
    plan = plan_working_range(SECURITY, OBSERVER)
    near_m, far_m = plan.working_m
    assert 1.5 < far_m < 4.0  # the focus is at 4 m, and half a pixel of blur at infinity
    assert near_m < 0.5
    assert plan.most_blur_px > 4
    assert f"Beyond {plan.told_m[1]:.2g} m this camera cannot tell" in report(SECURITY)


def test_a_range_that_blur_cuts_is_as_wide_as_it_allows():
    plan = plan_working_range(MACRO, OBSERVER)
    assert plan.is_cut
    assert plan.most_blur_px == pytest.approx(0.42 * PATCH_PX, rel=0.03)
    assert plan.working_m[0] >= nearest_object_m(MACRO)
    assert "raise f_number above 2.8" in report(MACRO)
    assert " cm, with blur" in report(MACRO)


def test_large_photos_are_offered_a_reduction_that_leaves_blur_to_see():
    phone = camera(5.4, 1.8, 1.4, 4000, 1.0)
    assert "Photos of 12 megapixels take 72 MB each" in report(phone)
    assert "reduced 2 times (pixel_pitch_um: 2.8, width_px: 2000, height_px: 1500)" in report(phone)
    assert "megapixels" not in report(phone.reduced(2))
    assert "megapixels" not in report(camera(24, 5.6, 4.4, 5472, 80))  # 9 px of blur


def test_charts_decide_the_range():
    plan = plan_working_range(Camera(), OBSERVER, (0.8, 4.5))
    assert (plan.working_m, plan.is_cut) == ((0.8, 4.5), False)


def test_a_focus_nearer_than_the_lens_allows_is_refused_with_the_nearest():
    with pytest.raises(LensError, match=r"60 mm does not focus this near.*0\.2;.*0\.24 m"):
        plan_working_range(camera(60, 2.8, 18.0, 400, 0.2), OBSERVER)


def test_blur_at_its_limits_is_what_was_asked_for():
    for most_px in (1.0, 5.0):
        near_m, far_m = blur_limits_m(FULL_FRAME, most_px)
        assert blur_px(FULL_FRAME, near_m) == pytest.approx(most_px)
        assert blur_px(FULL_FRAME, far_m) == pytest.approx(most_px)
    assert blur_limits_m(SECURITY, 5.0)[1] == float("inf")


@pytest.mark.parametrize(
    ("record", "told_m", "guess"),
    [
        (
            camera(50, 1.8, 6.0, 6000, 300),
            (3.9, 30),
            "write 0.3 (millimetres) or 3.0 (centimetres)",
        ),
        (camera(5.0, 1.8, 6.0, 6000, 3.0), None, "5 in centimetres (then write 50)"),
        (FULL_FRAME, (1.35, 30), None),
        (SECURITY, (0.36, 2.7), None),
        (MACRO, (0.246, 0.255), None),
    ],
)
def test_what_is_possible_but_unlikely_is_doubted_with_the_guess(record, told_m, guess):
    found = doubts(record, told_m)
    assert [guess in line for line in found] == ([True] if guess else [])


def test_colours_that_no_kernel_holds_are_refused_with_the_reduction():
    large = camera(400, 2.8, 1.0, 6000, 30.0)
    with pytest.raises(LensError, match=r"even in focus colours.*Reduce the photos (\d) times"):
        plan_working_range(large, OBSERVER)


@pytest.mark.parametrize(
    ("told_m", "words"),
    [
        ((0.7, 5.0), "From 0.7 to 5 m this camera can tell distances apart by blur: 10 % apart"),
        ((0.7, 3.1), "Beyond 3.1 m this camera cannot tell distances apart by blur: 10 % apart"),
        ((1.2, 5.0), "Nearer than 1.2 m this camera cannot tell distances apart by blur: 10 %"),
        (None, "From 0.7 to 5 m this camera cannot tell distances apart by blur: 10 % apart look"),
    ],
)
def test_the_verdict_is_one_sentence(told_m, words):
    text = verdict((0.7, 5.0), told_m, gap_within((0.7, 5.0), 0.1))
    assert text.startswith(words)
    assert text.count(". ") == 0


def test_in_a_narrow_range_smaller_differences_count():
    assert gap_within((0.2457, 0.2546), 0.1) == pytest.approx(0.009)


CLOSE_MACRO = camera(60, 2.8, 18.0, 400, 0.25)
FAST = camera(50, 1.8, 30.0, 400, 3.0)


@pytest.mark.parametrize(
    ("record", "charts_m", "said", "unsaid"),
    [
        (CLOSE_MACRO, (0.3, 0.5), "In all of that range blur is larger", "look alike"),
        (FAST, (0.4, 0.9), "In all of that range blur is larger", "look alike"),
        (FAST, (0.6, 5.0), "Outside of 1.", "Nearer than"),
        (FAST, (2.0, 5.0), "can tell distances apart", "blur is larger"),
    ],
)
def test_charts_where_blur_does_not_fit_are_said_to_be_that(record, charts_m, said, unsaid):
    plan = plan_working_range(record, OBSERVER, charts_m)
    text = "\n".join(plan.report(record, OBSERVER))
    assert plan.working_m == charts_m
    assert said in text
    assert unsaid not in text
