"""What the benchmark compares does the same work, and the fast student says the same."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from rangefinder.camera import Camera
from rangefinder.captures.manifest import Capture, write_captures
from rangefinder.config import CacheParams, Parameters
from rangefinder.deploy.contenders import Contenders
from rangefinder.deploy.fast import fast_ranger
from rangefinder.deploy.measure import ranger
from rangefinder.errors import ModelError
from rangefinder.location import Placement
from rangefinder.models.calibration import LEVELS, Calibration
from rangefinder.models.io import Card, TrainedModel, build_network

PARAMS = Parameters.model_validate(
    {
        "camera": {"width_px": 64, "height_px": 48},
        "teacher": {"stem_channels": [6, 8], "channels": 12, "blocks": 2, "stem_blocks": 1},
        "student": {"channels": [8, 8, 8]},
        "compute": {"threads": 1, "device": "cpu"},
    }
)
CAMERA = Camera.from_params(PARAMS.camera)
SIZE, SAMPLE = (70, 50), 30
HALF = Calibration(central=tuple(level / 2 for level in LEVELS))
FARTHER = Calibration(central=LEVELS, nearness=-0.8)


def model(kind):
    """A network with weights large enough for its answers to differ from place to place."""
    card = Card(
        kind=kind,
        camera=CAMERA,
        camera_fingerprint=CAMERA.fingerprint,
        teacher=PARAMS.teacher,
        student=PARAMS.student,
        prediction=PARAMS.prediction,
        patch_px=25,
        stride_px=4,
        dataset="0" * 16,
        seed=0,
    )
    torch.manual_seed(5)
    network = build_network(card)
    for parameter in network.parameters():
        parameter.data += 0.2 * torch.randn_like(parameter)
    return TrainedModel(network, card)


@pytest.fixture(scope="module")
def contenders(tmp_path_factory):
    image = torch.rand(3, 48, 64, generator=torch.Generator().manual_seed(1))
    photo = Capture(image, "unlabelled", "a", "test")
    captures = write_captures(tmp_path_factory.mktemp("set") / "captures", CAMERA, [photo])
    return Contenders(model("teacher"), model("student"), captures, PARAMS)


@pytest.mark.parametrize("stride_px", [1, 4])
def test_samples_of_the_patch_loop_say_what_the_dense_pass_says(contenders, stride_px):
    dense = contenders.dense(SIZE, stride_px).run().flatten(0, 1)
    assert dense.std(0).max() > 1e-3
    whole = contenders.patch_loop(SIZE, stride_px, 64, None).run().flatten(0, 1)
    torch.testing.assert_close(whole, dense, atol=1e-5, rtol=0)
    sample = contenders.patch_loop(SIZE, stride_px, 64, SAMPLE)
    torch.testing.assert_close(sample.run(), dense[sample.cells], atol=1e-5, rtol=0)
    assert sample.scale == pytest.approx(len(dense) / SAMPLE)


@pytest.mark.parametrize("stride_px", [1, 4])
@pytest.mark.parametrize("sample", [None, SAMPLE])
def test_monai_cuts_the_same_patches(contenders, stride_px, sample):
    pytest.importorskip("monai")
    dense = contenders.dense(SIZE, stride_px).run().flatten(0, 1)
    monai = contenders.monai(SIZE, stride_px, 7, sample)
    wanted = dense if monai.cells is None else dense[monai.cells]
    torch.testing.assert_close(monai.run().flatten(0, 1), wanted, atol=1e-5, rtol=0)
    assert monai.scale * len(wanted) == pytest.approx(len(dense))


@pytest.mark.parametrize("calibration", [None, HALF, FARTHER])
@pytest.mark.parametrize(("height", "width"), [(48, 64), (45, 61), (33, 30)])
def test_the_fast_student_says_what_measuring_says(height, width, calibration):
    student = model("student")
    student.card = student.card.model_copy(update={"calibration": calibration})
    image, placement = torch.rand(3, height, width), Placement((3.0, 2.0))
    slow = ranger(student, CAMERA, CacheParams())(image, placement)
    distance_m, near_m, far_m = fast_ranger(student, CAMERA, level=0.8)(image, placement)
    np.testing.assert_allclose(distance_m, slow.distance_m, rtol=1e-5)
    np.testing.assert_allclose(near_m, slow.interval_m[0.8][0], rtol=1e-5)
    np.testing.assert_allclose(far_m, slow.interval_m[0.8][1], rtol=1e-5)
    (alone_m,) = fast_ranger(student, CAMERA)(image, placement)
    np.testing.assert_array_equal(alone_m, distance_m)


def test_the_fast_student_goes_by_the_place_of_each_photo():
    student = model("student")
    fast, image = fast_ranger(student, CAMERA), torch.rand(3, 30, 33)
    places = [Placement(), Placement((30.0, 17.0)), Placement()]
    said = [fast(image, placement) for placement in places]
    assert np.abs(said[1] / said[0] - 1).max() > 1e-3
    np.testing.assert_array_equal(said[2], said[0])
    (other,) = fast(image[:, :, :30], Placement())
    assert other.shape == (30, 30)


def test_calibration_moves_the_interval_and_nothing_else():
    plain, narrow = model("student"), model("student")
    narrow.card = narrow.card.model_copy(update={"calibration": HALF})
    image = torch.rand(3, 48, 64)
    one, other = (ranger(m, CAMERA, CacheParams())(image, Placement()) for m in (plain, narrow))
    np.testing.assert_array_equal(one.distance_m, other.distance_m)
    np.testing.assert_array_equal(one.sd_dpt, other.sd_dpt)
    for level in (0.5, 0.8, 0.95):
        assert (one.interval_m[level][0] < other.interval_m[level][0]).all()
        assert (one.interval_m[level][1] > other.interval_m[level][1]).all()


def test_a_teacher_is_not_fast():
    with pytest.raises(ModelError, match="only a student"):
        fast_ranger(model("teacher"), CAMERA)
