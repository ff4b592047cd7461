"""Methods of the benchmark: loops and dense pass have equal outputs, whole or on a sample."""

from __future__ import annotations

import pytest
import torch

from rangefinder.camera import Camera
from rangefinder.captures.manifest import Capture, write_captures
from rangefinder.config import Parameters
from rangefinder.models.card import Card
from rangefinder.models.model_files import TrainedModel, build_network
from rangefinder.studies.benchmark.methods import MethodFactory

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


def model(kind):
    """A network whose predictions differ from place to place."""
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
def methods(tmp_path_factory):
    image = torch.rand(3, 48, 64, generator=torch.Generator().manual_seed(1))
    photo = Capture(image, "unlabelled", "a", "test")
    captures = write_captures(tmp_path_factory.mktemp("set") / "captures", CAMERA, [photo])
    return MethodFactory(model("teacher"), model("student"), captures, PARAMS)


@pytest.mark.parametrize("stride_px", [1, 4])
def test_the_patch_loop_and_its_samples_equal_the_dense_pass(methods, stride_px):
    dense = methods.dense(SIZE, stride_px).run().flatten(0, 1)
    assert dense.std(0).max() > 1e-3
    whole = methods.patch_loop(SIZE, stride_px, 64, None).run().flatten(0, 1)
    torch.testing.assert_close(whole, dense, atol=1e-5, rtol=0)
    sample = methods.patch_loop(SIZE, stride_px, 64, SAMPLE)
    torch.testing.assert_close(sample.run(), dense[sample.cells], atol=1e-5, rtol=0)
    assert sample.scale == pytest.approx(len(dense) / SAMPLE)


@pytest.mark.parametrize("stride_px", [1, 4])
@pytest.mark.parametrize("sample", [None, SAMPLE])
def test_the_loop_with_monai_equals_the_dense_pass(methods, stride_px, sample):
    pytest.importorskip("monai")
    dense = methods.dense(SIZE, stride_px).run().flatten(0, 1)
    monai = methods.monai(SIZE, stride_px, 7, sample)
    expected = dense if monai.cells is None else dense[monai.cells]
    torch.testing.assert_close(monai.run().flatten(0, 1), expected, atol=1e-5, rtol=0)
    assert monai.scale * len(expected) == pytest.approx(len(dense))


def test_the_student_predicts_every_pixel(methods, monkeypatch):
    network, seen = methods._student._network, []
    cells = network.cells

    def watched(image, location):
        seen.append(tuple(image.shape[2:]))
        return cells(image, location)

    monkeypatch.setattr(network, "cells", watched)
    for width, height in (SIZE, (2 * SIZE[0], 2 * SIZE[1])):
        assert methods.student((width, height)).run().shape == (height, width)
        assert seen.pop() == (height, width)
        assert seen == []
