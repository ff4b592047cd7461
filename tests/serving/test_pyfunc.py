"""The served model: batches of photos at a placement, and photo files, as MLflow calls it."""

import base64

import numpy as np
import pandas as pd
import pytest
import torch
from mlflow.exceptions import MlflowException
from PIL import Image

from rangefinder.coordinates import Placement
from rangefinder.inference.interface import Outputs
from rangefinder.inference.predictor import Predictor
from rangefinder.inference.session import Session
from rangefinder.models.model_files import load_model
from rangefinder.serving import pyfunc

from ..tiny_camera import random_pixels

IMAGES = np.random.default_rng(0).random((2, 3, 32, 40), dtype=np.float32)


@pytest.fixture(scope="module", params=["teacher", "student"])
def folder(request, model_folder):
    return model_folder / request.param


@pytest.mark.parametrize(
    ("params", "placement"),
    [
        (None, Placement()),
        ({"origin_x_px": 16.0, "origin_y_px": 8.0}, Placement((16.0, 8.0))),
        ({"scale": 1.5}, Placement(scale=1.5)),
    ],
)
def test_every_photo_of_a_batch_is_predicted_at_the_placement(folder, params, placement):
    maps = pyfunc._load_pyfunc(str(folder), {"device": "cpu"}).predict(IMAGES, params)
    assert list(maps) == ["distance_m", "near_m", "far_m"]
    predict = Predictor(load_model(folder), "cpu")
    for index, image in enumerate(IMAGES):
        expected = predict(torch.from_numpy(image), placement)
        np.testing.assert_array_equal(maps["distance_m"][index], expected.distance_m)
        np.testing.assert_array_equal(
            (maps["near_m"][index], maps["far_m"][index]), expected.interval_m[0.8]
        )


def test_two_distances_are_given_on_request(folder):
    served = pyfunc._load_pyfunc(str(folder), {"device": "cpu"})
    maps = served.predict(IMAGES, {"two_distances": True, "scale": 1.0})
    names = ["two_distance_m", "two_share", "two_near_m", "two_far_m"]
    assert list(maps) == ["distance_m", "near_m", "far_m", *names]
    predict, outputs = Predictor(load_model(folder), "cpu"), Outputs(two_distances=True)
    for index, image in enumerate(IMAGES):
        expected = predict(torch.from_numpy(image), Placement(), outputs).two_distances
        for name, values in zip(names, expected.maps, strict=True):
            np.testing.assert_array_equal(maps[name][index], values)


def test_the_batch_is_not_changed(folder):
    before = IMAGES.copy()
    pyfunc.ServedModel(load_model(folder), "cpu").predict(IMAGES)
    np.testing.assert_array_equal(IMAGES, before)


def rows(photos, **more):
    return pd.DataFrame(
        [{"photo": base64.b64encode(path.read_bytes()).decode(), **more} for path in photos]
    )


def test_photo_files_are_read_as_measure_does(folder, photo_folder):
    served = pyfunc.ServedModel(load_model(folder), "cpu")
    png, jpeg = photo_folder / "b.png", photo_folder / "c.jpg"
    first, second = served.predict(rows([png, jpeg], at=[[20, 10]]))
    session = Session(load_model(folder), "cpu")
    assert first == {"photo": "photo", **session.measure(png).summary([(20, 10)])}
    assert second == {"photo": "photo", **session.measure(jpeg).summary([(20, 10)])}
    (named,) = served.predict(rows([photo_folder / "a.tif"], name="a.tif"))
    assert named == {"photo": "a.tif", **session.measure(photo_folder / "a.tif").summary()}


def test_crops_are_placed_and_others_refused(folder, tmp_path):
    served = pyfunc.ServedModel(load_model(folder), "cpu")
    crop = random_pixels()[8:, 16:]
    Image.fromarray(crop).save(tmp_path / "crop.png")
    with pytest.raises(MlflowException, match="it has 48x40 px") as refusal:
        served.predict(rows([tmp_path / "crop.png"]))
    assert refusal.value.get_http_status_code() == 400
    assert "/" not in refusal.value.message.partition(" is refused")[0]
    place = {"origin_x_px": 16.0, "origin_y_px": 8.0}
    (found,) = served.predict(rows([tmp_path / "crop.png"], at=[[3, 4]]), place)
    expected = Session(load_model(folder), "cpu").measure(crop, origin_px=(16, 8)).at(3, 4)
    assert found["at"][0]["distance_m"] == expected.distance_m
