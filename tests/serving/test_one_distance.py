"""The same photos have the same metres: command, Python API, MLflow, and every runtime."""

import json

import mlflow
import numpy as np
import pytest
import tifffile
import torch
from PIL import Image

import rangefinder
from rangefinder.captures.images import write_linear
from rangefinder.inference.predictor import Predictor
from rangefinder.inference.session import Session
from rangefinder.serving import pyfunc

from ..commands.conftest import call
from ..tiny_camera import random_pixels

PLACES = ("command", "api", "mlflow", "command, ONNX Runtime", "ONNX Runtime", "OpenVINO")
TOLERANCE = 1e-4  # relative
BFLOAT16 = 2**-7  # rounding of a student in torch, where the processor is faster in it


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    folder = tmp_path_factory.mktemp("photos")
    write_linear(
        folder / "a.tif", torch.rand(3, 48, 64, generator=torch.Generator().manual_seed(3))
    )
    Image.fromarray(random_pixels(seed=1)).save(folder / "b.png")
    return [folder / "a.tif", folder / "b.png"]


@pytest.fixture(scope="module")
def exact(exported, photos):
    """Distances of the model in float32."""
    session = Session(Predictor(exported.model, "cpu", exact=True))
    return [session.measure(photo).distance_m for photo in photos]


def by_command(model, photos, out):
    done = call("measure", *photos, "--model", model, "--out", out, "--json")
    assert done.exit_code == 0, done.output
    reports = [json.loads(line) for line in done.stdout.splitlines()]
    return [tifffile.imread(report["files"]["distance"]) for report in reports]


def by_api(model, photos, **options):
    session = rangefinder.load_model(str(model), **options)
    return [session.measure(photo).distance_m for photo in photos]


def by_mlflow(exported, photos, folder):
    mlflow.pyfunc.save_model(
        folder, loader_module=pyfunc.__name__, data_path=str(exported.folder), pip_requirements=[]
    )
    loaded = mlflow.pyfunc.load_model(str(folder))
    session = Session(exported.model, "cpu")
    lights = [session.measure(photo).photo.light for photo in photos]
    return [loaded.predict(light[None])["distance_m"][0] for light in lights]


@pytest.mark.parametrize("place", PLACES)
def test_every_place_gives_the_same_metres(exported, photos, exact, tmp_path, place):
    if place == "OpenVINO":
        pytest.importorskip("openvino", reason="OpenVINO is not installed")
    found = {
        "command": lambda: by_command(exported.folder, photos, tmp_path),
        "api": lambda: by_api(exported.folder, photos, device="cpu"),
        "mlflow": lambda: by_mlflow(exported, photos, tmp_path / "model"),
        "command, ONNX Runtime": lambda: by_command(exported.path, photos, tmp_path),
        "ONNX Runtime": lambda: by_api(exported.path, photos),
        "OpenVINO": lambda: by_api(exported.path, photos, runtime="openvino"),
    }[place]()
    is_torch = place in ("command", "api", "mlflow")
    if is_torch and exported.model.card.kind == "student":
        usual = by_api(exported.folder, photos, device="cpu")
        np.testing.assert_array_equal(found, usual)
    for distance, expected in zip(found, exact, strict=True):
        assert np.ptp(expected) > 0.2
        difference = np.abs(distance / expected - 1)
        if is_torch and exported.model.card.kind == "student":
            assert np.median(difference) < BFLOAT16
        else:
            assert np.quantile(difference, 0.99) < TOLERANCE
