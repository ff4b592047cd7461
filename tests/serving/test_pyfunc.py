"""The served model: batches of photos at a placement, as MLflow calls it."""

import numpy as np
import pytest
import torch

from rangefinder.coordinates import Placement
from rangefinder.inference.predictor import Predictor
from rangefinder.models.model_files import load_model
from rangefinder.serving import pyfunc

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


def test_the_batch_is_not_changed(folder):
    before = IMAGES.copy()
    pyfunc.ServedModel(load_model(folder), "cpu").predict(IMAGES)
    np.testing.assert_array_equal(IMAGES, before)
