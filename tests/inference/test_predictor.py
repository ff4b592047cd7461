"""The predictor: maps of a photo whatever its crop or scale, and the outputs that are asked for."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from rangefinder.captures.manifest import Capture, write_captures
from rangefinder.config import CacheParams
from rangefinder.coordinates import Placement
from rangefinder.errors import CameraMismatchError, CaptureError, ConfigError
from rangefinder.inference.interface import DISTANCE_ONLY, FOR_SCORES, Outputs
from rangefinder.inference.predictor import Predictor, capture_predictions, common_support
from rangefinder.models.calibration import CALIBRATION_LEVELS, Calibration
from rangefinder.models.device import torch_device
from rangefinder.photo_domain import Effect, Shift

from ..tiny_camera import CAMERA, make_model

IMAGE = torch.rand(3, 48, 64, generator=torch.Generator().manual_seed(0))
NARROW = Calibration(central=tuple(level / 2 for level in CALIBRATION_LEVELS))
TILTED = Calibration(central=CALIBRATION_LEVELS, tilt_power=-0.8)


def scrambled(kind, calibration=None):
    """A model whose predictions differ from place to place."""
    model = make_model(kind)
    generator = torch.Generator().manual_seed(5)
    for parameter in model.network.parameters():
        parameter.data += 0.2 * torch.randn(parameter.shape, generator=generator)
    model.card = model.card.model_copy(update={"calibration": calibration})
    return model


@pytest.mark.parametrize("kind", ["teacher", "student"])
def test_every_pixel_has_a_distance_inside_its_interval(kind):
    found = Predictor(make_model(kind))(IMAGE)
    near, far = found.interval_m[0.8]
    assert found.accuracy_probability.shape == found.distance_m.shape == (48, 64)
    assert ((found.accuracy_probability > 0) & (found.accuracy_probability < 1)).all()
    assert (near < far).all()
    assert np.isfinite(found.distance_m).all()
    assert found.sd_dpt is None


def test_a_crop_with_its_origin_gives_what_the_whole_photo_gives():
    predict = Predictor(make_model("teacher"))
    whole = predict(IMAGE).distance_m
    crop = predict(IMAGE[:, 4:44, 8:60], Placement((8.0, 4.0))).distance_m
    inner = np.s_[10:28, 10:40]  # between the outermost patch centres of the crop
    assert np.allclose(crop[inner], whole[4:44, 8:60][inner], rtol=1e-4)


def test_a_binned_photo_is_predicted_at_the_scale_of_training():
    predict = Predictor(make_model("teacher"))
    smooth = torch.nn.functional.interpolate(
        torch.rand(1, 3, 6, 8, generator=torch.Generator().manual_seed(1)), (48, 64), mode="bicubic"
    )[0].clamp(0, 1)
    binned = torch.nn.functional.avg_pool2d(smooth, 2)
    small = predict(binned, Placement((0.0, 0.0), 2.0)).distance_m
    whole = predict(smooth).distance_m
    assert small.shape == (24, 32)
    halved = whole.reshape(24, 2, 32, 2).mean(axis=(1, 3))
    assert np.abs(small / halved - 1)[6:18, 6:26].max() < 0.05


@pytest.mark.parametrize("kind", ["teacher", "student"])
def test_a_photo_smaller_than_a_patch_is_refused(kind):
    with pytest.raises(CaptureError, match="smaller than one patch"):
        Predictor(make_model(kind))(torch.rand(3, 16, 64))


@pytest.mark.parametrize("calibration", [None, NARROW, TILTED])
@pytest.mark.parametrize("kind", ["teacher", "student"])
@pytest.mark.parametrize(("height", "width"), [(48, 64), (45, 61), (33, 30)])
def test_no_output_depends_on_the_others(kind, calibration, height, width):
    predict = Predictor(scrambled(kind, calibration))
    image, placement = torch.rand(3, height, width), Placement((3.0, 2.0))
    reported, scored, alone, other = (
        predict(image, placement, outputs)
        for outputs in (Outputs(), FOR_SCORES, DISTANCE_ONLY, Outputs((0.31,), sd=True))
    )
    for found in (scored, alone, other):
        np.testing.assert_array_equal(found.distance_m, reported.distance_m)
    np.testing.assert_array_equal(scored.interval_m[0.8], reported.interval_m[0.8])
    np.testing.assert_array_equal(scored.sd_dpt, other.sd_dpt)
    np.testing.assert_array_equal(other.accuracy_probability, reported.accuracy_probability)
    assert alone.interval_m == {}
    assert alone.accuracy_probability is alone.sd_dpt is None


def test_a_prediction_depends_on_the_placement_of_its_photo():
    predict, image = Predictor(scrambled("student")), torch.rand(3, 30, 33)
    placements = [Placement(), Placement((30.0, 17.0)), Placement()]
    here, there, again = (predict(image, placement).distance_m for placement in placements)
    assert np.abs(there / here - 1).max() > 1e-3
    np.testing.assert_array_equal(again, here)
    assert predict(image[:, :, :30]).distance_m.shape == (30, 30)


def divided(posterior, near=9, far=2):
    """The same with 0.6 in a bin before the focus (0.67 dpt) and 0.4 in one behind it, in the
    lower half; all of it before the focus in the upper half.
    """
    probs = torch.zeros_like(posterior.probs)
    probs[..., near], probs[..., far] = 0.6, 0.4
    probs[: len(probs) // 2, :, near], probs[: len(probs) // 2, :, far] = 1.0, 0.0
    return replace(posterior, probs=probs)


@pytest.mark.parametrize("kind", ["teacher", "student"])
def test_a_prediction_by_the_defocus_sign_is_decoded_on_request(kind):
    model = make_model(kind)
    posterior = divided(Predictor(model).posterior(IMAGE))
    found = posterior.decode(Outputs(sides=True))
    np.testing.assert_array_equal(found.distance_m, posterior.decode().distance_m)
    assert posterior.decode().sides is None
    assert found.sides.before_probability[2, 5] == pytest.approx(1.0)
    assert found.sides.before_probability[-3, 5] == pytest.approx(0.6)
    near_m, far_m = 1 / model.distribution.centres_dpt[[9, 2]].numpy()
    assert found.sides.before_m[-3, 5] == pytest.approx(near_m, rel=1e-4)
    assert found.sides.behind_m[-3, 5] == pytest.approx(far_m, rel=1e-4)


@pytest.mark.parametrize("kind", ["teacher", "student"])
def test_a_divided_posterior_has_two_distances(kind):
    model = make_model(kind)
    posterior = divided(Predictor(model).posterior(IMAGE))
    both = posterior.two_distances(np.array([2, 45]), np.array([5]))
    assert both.share.shape == (2, 1, 2)
    half, centres = model.distribution.width_dpt / 2, model.distribution.centres_dpt
    for which, (share, bin_) in enumerate([(0.6, 9), (0.4, 2)]):
        distance_m, found, *ends_m = (values[1, 0, which] for values in both.maps)
        centre = float(centres[bin_])
        assert (distance_m, found) == pytest.approx((1 / centre, share), rel=1e-4)
        assert ends_m == pytest.approx((1 / (centre + half), 1 / (centre - half)), rel=1e-4)
    for values in both.maps:
        assert np.isnan(values[0]).all()
    whole = posterior.decode(Outputs(two_distances=True)).two_distances
    assert posterior.decode().two_distances is None
    assert whole.share.shape == (*posterior.size_px, 2)
    for values, some in zip(whole.maps, both.maps, strict=True):
        np.testing.assert_array_equal(values[[2, 45]][:, [5]], some)


def test_two_distances_are_those_of_the_nearest_cell():
    model = make_model("student")
    posterior = Predictor(model).posterior(IMAGE)
    probs = torch.zeros_like(posterior.probs)
    probs[..., 9] = 1.0
    probs[3, 5, 9], probs[3, 5, 2] = 0.6, 0.4  # the cell on row 12, column 20
    posterior = replace(posterior, probs=probs)
    found = posterior.decode(Outputs(two_distances=True)).two_distances.share[..., 0]
    given = np.argwhere(np.isfinite(found))
    assert (given.min(0).tolist(), given.max(0).tolist()) == ([10, 18], [13, 21])
    assert len(given) == 16


@pytest.mark.parametrize("shifted", [False, True])
def test_two_distances_have_their_own_calibration_and_are_widened_by_shifts(shifted):
    exact = tuple(level / 2 for level in CALIBRATION_LEVELS)
    calibration = Calibration(central=CALIBRATION_LEVELS, two_modes=exact)
    effect = Effect(error_ratio=2, coverage=0.5, central=CALIBRATION_LEVELS, degree={})
    shifts = (Shift("jpeg_420", "it is a JPEG", effect),) if shifted else ()
    card = make_model("student", calibration=calibration).card
    assert card.two_modes_mass(0.8, shifts) == pytest.approx(0.8 if shifted else 0.4)
    old = card.model_copy(update={"calibration": Calibration(central=exact)})
    assert old.two_modes_mass(0.8) == pytest.approx(0.4)
    assert card.model_copy(update={"calibration": None}).two_modes_mass(0.8) == 0.8


def test_calibration_changes_intervals_only():
    one, other = (
        Predictor(scrambled("student", calibration))(IMAGE, Placement(), FOR_SCORES)
        for calibration in (None, NARROW)
    )
    np.testing.assert_array_equal(one.distance_m, other.distance_m)
    np.testing.assert_array_equal(one.sd_dpt, other.sd_dpt)
    for level in (0.5, 0.8, 0.95):
        assert (one.interval_m[level][0] < other.interval_m[level][0]).all()
        assert (one.interval_m[level][1] > other.interval_m[level][1]).all()


def test_tilting_to_far_distances_raises_them():
    plain, tilted = (Predictor(scrambled("student", c))(IMAGE).distance_m for c in (None, TILTED))
    assert (tilted > plain).all()


@pytest.fixture
def captures(tmp_path):
    capture = Capture(IMAGE, "unlabelled", "room", "train", placement=Placement((2.0, 1.0)))
    return write_captures(tmp_path / "set", CAMERA, [capture])


@pytest.mark.parametrize("kind", ["teacher", "student"])
def test_captures_are_predicted_at_their_placement(captures, kind):
    model = make_model(kind)
    found = capture_predictions(model, captures, CacheParams(), "cpu")(0)
    expected = Predictor(model, "cpu")(captures.image(0), Placement((2.0, 1.0)), FOR_SCORES)
    np.testing.assert_array_equal(found.distance_m, expected.distance_m)
    assert set(found.interval_m) == {0.5, 0.8, 0.95}
    assert found.sd_dpt is not None


def test_captures_of_another_camera_are_refused(captures):
    other = make_model("student", CAMERA.model_copy(update={"f_number": 4.0}))
    with pytest.raises(CameraMismatchError):
        capture_predictions(other, captures, CacheParams(), "cpu")


def test_the_common_support_lies_wholly_between_the_outermost_patch_centres(captures):
    assert common_support(make_model("student").card, captures)(0) == (
        9,
        9,
        52,
        36,
    )  # centres 8.5 to 52.5 and 8.5 to 36.5


def test_a_device_that_is_not_there_is_refused():
    if torch.cuda.is_available():
        pytest.skip("there is a CUDA device")
    assert torch_device("auto").type == "cpu"
    with pytest.raises(ConfigError, match="CUDA"):
        Predictor(make_model("student"), "cuda")


@pytest.mark.parametrize(("able", "expected"), [({"avx512_bf16": True}, True), ({}, False)])
def test_a_student_runs_in_bfloat16_where_the_cpu_has_it(monkeypatch, able, expected):
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: able)
    model, seen = make_model("student"), []
    model.network.stem.register_forward_hook(
        lambda *_: seen.append(torch.is_autocast_enabled("cpu"))
    )
    Predictor(model)(IMAGE)
    assert seen == [expected]


def test_an_overexposed_photo_has_the_widest_interval():
    model = make_model("student")
    near, far = Predictor(model)(torch.ones(3, 48, 64)).interval_m[0.8]
    bins, tail = model.distribution.bins, model.card.tail(0.8)
    ends_dpt = model.distribution.quantile_dpt(torch.full((1, bins), 1 / bins), (tail, 1 - tail))
    np.testing.assert_allclose(1 / far, float(ends_dpt[0]), rtol=1e-4)
    np.testing.assert_allclose(1 / near, float(ends_dpt[1]), rtol=1e-4)


@pytest.mark.parametrize("kind", ["teacher", "student"])
def test_predicting_leaves_the_model_as_it_is(kind):
    model = make_model(kind)
    before = model.fingerprint
    first = Predictor(model)(IMAGE).distance_m
    np.testing.assert_array_equal(Predictor(model)(IMAGE).distance_m, first)
    assert model.fingerprint == before
