"""Every way to measure a photo gives the same metres: there is one predictor behind all."""

from __future__ import annotations

import json

import numpy as np
import pytest
import tifffile
import torch

import rangefinder
from rangefinder.captures.manifest import Capture, write_captures
from rangefinder.config import CacheParams, ComputeParams, Parameters
from rangefinder.errors import ConfigError
from rangefinder.inference.predictor import capture_predictions
from rangefinder.inference.session import Session, tape_checks
from rangefinder.models.model_files import load_model, save_model
from rangefinder.serving import pyfunc
from rangefinder.serving.pyfunc import ServedModel
from rangefinder.studies.benchmark.methods import MethodFactory

from ..commands.conftest import call
from ..tiny_camera import CAMERA, make_calibrated_model, make_model

POINT = (20, 10)  # column and row
DECIMALS = 5.1e-5  # of distances that are printed or stored as JSON [m]


@pytest.fixture(scope="module", params=["teacher", "student"])
def kind(request):
    return request.param


@pytest.fixture(scope="module")
def folder(kind, tmp_path_factory):
    """Folder of a calibrated model whose predictions differ from place to place."""
    folder = tmp_path_factory.mktemp("model") / kind
    save_model(folder, make_calibrated_model(kind))
    return folder


@pytest.fixture(scope="module")
def captures(tmp_path_factory):
    """One capture, whose picture is the photo."""
    image = torch.rand(3, 48, 64, generator=torch.Generator().manual_seed(2))
    capture = Capture(image, "unlabelled", "room", "train")
    return write_captures(tmp_path_factory.mktemp("captures") / "set", CAMERA, [capture])


@pytest.fixture(scope="module")
def photo(captures):
    return captures.folder / captures.row(0)["image"]


@pytest.fixture(scope="module")
def measured(folder, photo):
    """The photo measured by a session."""
    return Session(load_model(folder), "cpu").measure(photo)


def test_the_expected_distances_differ_from_place_to_place(measured):
    assert np.ptp(measured.distance_m) > 0.2
    assert (measured.interval_m(0.5)[0] > measured.interval_m(0.8)[0]).all()


def test_session_on_an_array(folder, photo, measured):
    pixels = tifffile.imread(photo)
    assert pixels.dtype == np.uint16
    found = Session(load_model(folder), "cpu").measure(pixels)
    np.testing.assert_array_equal(found.distance_m, measured.distance_m)


def test_load_model_of_the_package(folder, photo, measured):
    found = rangefinder.load_model(str(folder), device="cpu").measure(str(photo))
    np.testing.assert_array_equal(found.distance_m, measured.distance_m)
    np.testing.assert_array_equal(found.interval_m(), measured.interval_m())
    assert found.at(*POINT) == measured.at(*POINT)
    assert found.at(*POINT).distance_m == pytest.approx(
        measured.distance_m[POINT[1], POINT[0]], abs=DECIMALS
    )


def test_command_measure(folder, photo, measured, tmp_path):
    options = ("--model", folder, "--device", "cpu", "--out", tmp_path, "--json", "--at", "20,10")
    done = call("measure", photo, *options)
    assert done.exit_code == 0, done.output
    report = json.loads(done.stdout)
    reading = measured.at(*POINT)
    for name in ("distance_m", "near_m", "far_m", "accuracy_probability"):
        assert report["at"][0][name] == pytest.approx(getattr(reading, name), abs=DECIMALS)
    stored = tifffile.imread(report["files"]["distance"])
    np.testing.assert_allclose(stored, measured.distance_m, rtol=1e-6)


def test_command_verify(folder, photo, measured):
    options = ("--model", folder, "--device", "cpu", "--json", "--at", "20,10")
    done = call("verify", photo, "--distance", "1.5", *options)
    reading = json.loads(done.stdout)["reading"]
    assert reading["distance_m"] == pytest.approx(measured.at(*POINT).distance_m, abs=DECIMALS)


def test_tape_checks(folder, photo, measured):
    (check,) = tape_checks(Session(load_model(folder), "cpu"), photo, 1.5, [POINT])
    assert check.reading == measured.at(*POINT)


def test_evaluation(folder, captures, measured):
    predict = capture_predictions(load_model(folder), captures, CacheParams(), "cpu")
    found = predict(0)
    np.testing.assert_array_equal(found.distance_m, measured.distance_m)
    np.testing.assert_array_equal(found.interval_m[0.8], measured.interval_m(0.8))
    np.testing.assert_array_equal(found.interval_m[0.95], measured.interval_m(0.95))


def test_served_model(folder, captures, measured):
    images = captures.image(0)[None].numpy()
    found = ServedModel(load_model(folder), "cpu").predict(np.concatenate([images, images]))
    near, far = measured.interval_m()
    for image in range(2):
        np.testing.assert_array_equal(found["distance_m"][image], measured.distance_m)
        np.testing.assert_array_equal(found["near_m"][image], near)
        np.testing.assert_array_equal(found["far_m"][image], far)


def test_student_of_the_benchmark(kind, folder, captures, measured):
    if kind != "student":
        pytest.skip("the benchmark times the distances of students")
    params = Parameters(compute=ComputeParams(device="cpu"))
    methods = MethodFactory(make_model("teacher"), load_model(folder), captures, params)
    np.testing.assert_array_equal(methods.student((64, 48)).run(), measured.distance_m)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
def test_evaluation_and_serving_ask_for_the_configured_device(folder, captures):
    model = load_model(folder)
    with pytest.raises(ConfigError, match="no CUDA device"):
        capture_predictions(model, captures, CacheParams(), "cuda")
    with pytest.raises(ConfigError, match="no CUDA device"):
        pyfunc._load_pyfunc(str(folder), {"device": "cuda"})
