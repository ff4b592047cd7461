"""The photo domain: what photos a model was trained on, and which others are shifts."""

import pytest

from rangefinder.photo_domain import Effect, PhotoDomain, Storage

USUAL = {
    "brightness": -0.5,
    "grey": 0.0,
    "noise_floor": -5.0,
    "fine_detail": 0.0,
    "chroma": 2.0,
    "mosaic": -5.0,
    "noise_slope": 1.0,
    "blocks": 0.0,
}
TRAINED = [USUAL, {name: value + 0.1 for name, value in USUAL.items()} | {"grey": 0.0}]
LINEAR, SRGB, JPEG = Storage(), Storage("srgb"), Storage("jpeg", 95, "4:2:0")
LINE = (*(0.05 * step for step in range(1, 20)), 0.99)


def domain(*storages: Storage, **effects: tuple[Effect, ...]) -> PhotoDomain:
    found = PhotoDomain.of(storages or (LINEAR,), TRAINED)
    return found.model_copy(update={"effects": effects})


def effect(
    error_ratio: float, coverage: float = 0.5, shift: float = 0.0, **degree: float
) -> Effect:
    central = tuple(min(mass + shift, 1.0) for mass in LINE)
    return Effect(error_ratio=error_ratio, coverage=coverage, central=central, degree=degree)


def kinds(found: PhotoDomain, storage: Storage = LINEAR, **statistics: float) -> list[str]:
    return [shift.kind for shift in found.shifts(storage, USUAL | statistics)]


@pytest.mark.parametrize("storage", [LINEAR, SRGB, JPEG, Storage("lossy")])
def test_storage_is_written_and_read(storage):
    assert Storage.parse(str(storage)) == storage


def test_a_photo_like_those_of_training_has_no_shift():
    assert kinds(domain()) == []
    assert kinds(domain(), SRGB) == []
    assert kinds(domain(JPEG), JPEG) == []


@pytest.mark.parametrize(
    ("statistics", "kind"),
    [
        ({"grey": 1.0}, "grey"),
        ({"grey": 1.0, "mosaic": -2.0}, "cfa"),
        ({"mosaic": -2.0}, "mosaic"),
        ({"brightness": -4.0, "noise_floor": -8.0}, "dark"),
        ({"noise_slope": -0.2}, "gamma"),
        ({"noise_floor": -4.0}, "sharpened"),
        ({"fine_detail": -3.0, "chroma": 0.0}, "smoothed"),
        ({"chroma": 0.0}, "half_chroma"),
        ({"blocks": 0.5, "fine_detail": -3.0, "chroma": 0.0}, "jpeg_420"),
    ],
)
def test_statistics_beyond_those_of_training_are_shifts(statistics, kind):
    assert kinds(domain(), **statistics) == [kind]


def test_gamma_is_looked_for_in_linear_light_only():
    assert kinds(domain(), SRGB, noise_slope=-0.2) == []


def test_jpegs_are_compared_with_those_of_training():
    raw, jpeg = domain(), domain(Storage("jpeg", 90, "4:2:0"), Storage("jpeg", 98, "4:4:4"))
    assert kinds(raw, JPEG) == ["jpeg_420"]
    assert kinds(raw, Storage("jpeg", 95, "4:4:4")) == ["jpeg_444"]
    assert kinds(raw, Storage("lossy")) == ["jpeg_420"]
    for accepted in (JPEG, Storage("jpeg", 89, "4:2:2"), LINEAR):
        assert kinds(jpeg, accepted, blocks=0.05) == []
    assert kinds(jpeg, Storage("jpeg", 80, "4:4:4")) == ["jpeg_444"]
    fine = domain(Storage("jpeg", 95, "4:4:4"))
    assert kinds(fine, JPEG) == ["jpeg_420"]
    assert str(jpeg) == "JPEG of quality 90-98 (4:4:4, 4:2:0)"
    assert str(domain(LINEAR, JPEG)) == "linear light and JPEG of quality 95 (4:2:0)"


def test_colour_is_a_shift_for_a_model_of_grey_photos():
    grey = PhotoDomain.of([LINEAR], [USUAL | {"grey": 1.0}])
    assert kinds(grey) == ["coloured"]
    assert str(grey) == "linear light, grey"


def test_shifts_that_cost_the_model_nothing_are_left_out():
    harmless = domain(grey=(effect(1.05, coverage=0.8),))
    assert kinds(harmless, grey=1.0) == []
    for costly, said in (
        (effect(1.3, coverage=0.8), "error 1.3 times as large"),
        (effect(1.0, coverage=0.6), "80 % intervals hold the truth in 60%"),
    ):
        (shift,) = domain(grey=(costly,)).shifts(LINEAR, USUAL | {"grey": 1.0})
        assert shift.effect == costly
        assert said in str(shift)


def test_effects_are_interpolated_to_the_degree_of_the_photo():
    steps = (
        effect(3.0, shift=0.2, quality=95.0, noise_floor=-7.0),
        effect(2.0, shift=0.0, quality=65.0, noise_floor=-9.0),
    )
    found = domain(jpeg_420=steps)
    for quality, ratio in ((99, 3.0), (95, 3.0), (80, 2.5), (30, 2.0)):
        (shift,) = found.shifts(Storage("jpeg", quality, "4:2:0"), USUAL)
        assert shift.effect is not None
        assert shift.effect.error_ratio == pytest.approx(ratio)
        assert shift.effect.central[0] == pytest.approx(LINE[0] + 0.2 * (ratio - 2))
    (stored_anew,) = found.shifts(SRGB, USUAL | {"blocks": 1.0, "noise_floor": -8.0})
    assert stored_anew.effect is not None
    assert stored_anew.effect.error_ratio == pytest.approx(2.5)


def test_statistics_that_a_small_photo_lacks_are_not_compared():
    small = {"brightness": -0.5, "grey": 0.0}
    assert domain().shifts(LINEAR, small) == []
