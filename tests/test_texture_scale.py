"""Texture must not give the distance away: the trained teacher of a full run is asked."""

import numpy as np
import pytest
import torch

from rangefinder.cache.sweep import Sweep
from rangefinder.camera import Camera
from rangefinder.captures.canvases import make_canvas, recipes
from rangefinder.captures.images import resize_sharp
from rangefinder.config import Parameters
from rangefinder.errors import ModelError
from rangefinder.location import Placement
from rangefinder.models.io import load_model
from rangefinder.optics.lens import bank_for
from rangefinder.optics.noise import expose
from rangefinder.optics.render import Layer, render

from .conftest import ROOT

MAGNIFICATIONS = (1.0, 1.4, 2.0)
KNOWS = 0.3  # information from which an answer counts


@pytest.fixture(scope="module")
def teacher():
    try:
        model = load_model(ROOT / "data/06_models/teacher")
    except ModelError as exc:
        pytest.skip(f"needs the teacher of `make run` ({exc})")
    if model.card.camera.width_px < 480:
        pytest.skip("needs the teacher of `make run`, found that of the smoke environment")
    return model


def median_distance(teacher, sweep, bank, sharp, distance_m):
    picture = render(bank, [Layer(sharp, None, distance_m)])
    noise = np.random.default_rng(1)
    image = expose(picture / picture.max(), 0.8, Parameters().noise, noise)
    probs = sweep(image, Placement())
    knows = teacher.prediction.information(probs) > KNOWS
    return teacher.prediction.estimate_m(probs)[knows].median()


@pytest.mark.slow
def test_magnifying_a_texture_hardly_moves_the_predicted_distance(teacher, tmp_path_factory):
    params = Parameters()
    camera = Camera.from_params(params.camera)
    bank = bank_for(camera, params.bank, params.range.working_m, tmp_path_factory.mktemp("bank"))
    card = teacher.card
    sweep = Sweep(teacher.network, camera, params.cache, card.patch_px, card.stride_px)
    size = camera.height_px + 2 * bank.radius_px, camera.width_px + 2 * bank.radius_px
    held_out = [
        recipe
        for recipe in recipes(0, 1100, {"train": 1, "validation": 1, "test": 60})
        if recipe.split == "test" and recipe.source.startswith("leaves")
    ]
    moves = []
    for recipe in held_out:
        canvas = make_canvas(recipe).float()
        for inverse_dpt in torch.linspace(0.3, 1.4, 6):
            answers = []
            for magnification in MAGNIFICATIONS:
                shown = [int(side * 2 / magnification) for side in size]
                piece = canvas[:, : shown[0], : shown[1]]
                sharp = resize_sharp(piece, *size)
                distance_m = 1 / float(inverse_dpt)
                answers.append(median_distance(teacher, sweep, bank, sharp, distance_m))
            moves += [abs(float(answer / answers[0]) - 1) for answer in answers[1:]]
    assert len(moves) >= 24
    assert np.median(moves) < 0.05
