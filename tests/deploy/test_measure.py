"""Measuring: the maps of a photo, whatever its crop or scale."""

import numpy as np
import pytest
import torch

from rangefinder.deploy.fast import fast_ranger
from rangefinder.deploy.measure import CONFIDENT_WITHIN, meter, ranger
from rangefinder.errors import CameraMismatchError, ConfigError
from rangefinder.location import Placement
from rangefinder.models.device import torch_device

from .conftest import CAMERA, make_model

IMAGE = torch.rand(3, 48, 64, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("kind", ["teacher", "student"])
def test_measurement_is_of_every_pixel_and_in_order(kind):
    model = make_model(kind)
    measured = meter(model)(IMAGE, Placement())
    near, far = measured.ranging.interval_m[0.8]
    assert measured.confidence.shape == measured.ranging.distance_m.shape == (48, 64)
    assert ((measured.confidence > 0) & (measured.confidence < 1)).all()
    assert (near < far).all()
    assert np.isfinite(measured.ranging.distance_m).all()


def test_confidence_is_the_probability_of_being_within_a_tenth():
    prediction = make_model("student").prediction
    probs = torch.rand(5, 12, generator=torch.Generator().manual_seed(2))
    probs /= probs.sum(-1, keepdim=True)
    estimate = prediction.estimate_dpt(probs)
    low, high = estimate / (1 + CONFIDENT_WITHIN), estimate / (1 - CONFIDENT_WITHIN)
    levels = torch.linspace(0, 1, 20001)
    quantiles = prediction.quantile_dpt(probs, tuple(levels.tolist()))
    counted = ((quantiles > low) & (quantiles < high)).float().mean(0)
    assert torch.allclose(prediction.probability_between(probs, low, high), counted, atol=2e-4)


def test_everything_lies_between_the_ends_of_the_bins():
    prediction = make_model("student").prediction
    probs = torch.full((3, 12), 1 / 12)
    everywhere = prediction.probability_between(probs, torch.zeros(3), torch.full((3,), 9.0))
    assert torch.allclose(everywhere, torch.ones(3))


def test_crop_with_its_origin_gives_what_the_whole_photo_gives():
    measure = meter(make_model("teacher"))
    whole = measure(IMAGE, Placement()).ranging.distance_m
    crop = measure(IMAGE[:, 4:44, 8:60], Placement((8.0, 4.0))).ranging.distance_m
    inner = np.s_[10:28, 10:40]  # between the outermost patch centres of the crop
    assert np.allclose(crop[inner], whole[4:44, 8:60][inner], rtol=1e-4)


def test_binned_photo_is_measured_at_the_scale_that_was_learned():
    measure = meter(make_model("teacher"))
    smooth = torch.nn.functional.interpolate(
        torch.rand(1, 3, 6, 8, generator=torch.Generator().manual_seed(1)), (48, 64), mode="bicubic"
    )[0].clamp(0, 1)
    binned = torch.nn.functional.avg_pool2d(smooth, 2)
    small = measure(binned, Placement((0.0, 0.0), 2.0)).ranging.distance_m
    whole = measure(smooth, Placement()).ranging.distance_m
    assert small.shape == (24, 32)
    halved = whole.reshape(24, 2, 32, 2).mean(axis=(1, 3))
    assert np.abs(small / halved - 1)[6:18, 6:26].max() < 0.05


def test_other_cameras_and_devices_are_refused():
    other = CAMERA.model_copy(update={"f_number": 4.0})
    with pytest.raises(CameraMismatchError):
        ranger(make_model("student"), other, None)
    if not torch.cuda.is_available():
        assert torch_device("auto").type == "cpu"
        with pytest.raises(ConfigError, match="CUDA"):
            torch_device("cuda")


@pytest.mark.parametrize(("able", "expected"), [({"avx512_bf16": True}, True), ({}, False)])
def test_a_student_multiplies_bfloat16_where_the_cpu_is_made_for_it(monkeypatch, able, expected):
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: able)
    model, seen = make_model("student"), []
    model.network.stem.register_forward_hook(
        lambda *_: seen.append(torch.is_autocast_enabled("cpu"))
    )
    meter(model)(IMAGE, Placement())
    fast_ranger(model, CAMERA)(IMAGE, Placement())
    assert seen == [expected, expected]


def test_of_an_overexposed_photo_nothing_is_known():
    model = make_model("student")
    measured = meter(model)(torch.ones(3, 48, 64), Placement())
    near, far = measured.ranging.interval_m[0.8]
    tail, flat = model.tail(0.8), torch.full((1, model.prediction.bins), 1 / model.prediction.bins)
    ends_dpt = model.prediction.quantile_dpt(flat, (tail, 1 - tail))
    np.testing.assert_allclose(1 / far, float(ends_dpt[0]), rtol=1e-4)
    np.testing.assert_allclose(1 / near, float(ends_dpt[1]), rtol=1e-4)
