"""Texture must not give the distance away, to the trained teacher of a full run."""

import numpy as np
import pytest
import torch

from rangefinder.camera import Camera
from rangefinder.captures.images import resize_sharp
from rangefinder.config import Parameters
from rangefinder.coordinates import Placement
from rangefinder.errors import ModelError
from rangefinder.models.model_files import load_model
from rangefinder.optics.psf_bank import bank_for
from rangefinder.optics.rendering import Layer, render
from rangefinder.optics.sensor import expose
from rangefinder.sweep.sweep import Sweep
from rangefinder.synthesis.textures import make_texture, texture_specs

from .conftest import ROOT

MAGNIFICATIONS = (1.0, 1.4, 2.0)
MIN_NEGENTROPY = 0.3  # of predictions that count


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
    certain = teacher.distribution.negentropy(probs) > MIN_NEGENTROPY
    return teacher.distribution.estimate_m(probs)[certain].median()


@pytest.mark.slow
def test_magnifying_a_texture_hardly_moves_the_predicted_distance(teacher, tmp_path_factory):
    params = Parameters()
    camera = Camera.from_params(params.camera)
    bank = bank_for(camera, params.bank, params.range.working_m, tmp_path_factory.mktemp("bank"))
    card = teacher.card
    sweep = Sweep(teacher.network, camera, params.cache, card.patch_px, card.stride_px)
    size = camera.height_px + 2 * bank.radius_px, camera.width_px + 2 * bank.radius_px
    held_out = [
        spec
        for spec in texture_specs(0, 1100, {"train": 1, "validation": 1, "test": 60})
        if spec.split == "test" and spec.source.startswith("leaves")
    ]
    moves = []
    for spec in held_out:
        texture = make_texture(spec).float()
        for inverse_dpt in torch.linspace(0.3, 1.4, 6):
            distances = []
            for magnification in MAGNIFICATIONS:
                shown = [int(side * 2 / magnification) for side in size]
                crop = texture[:, : shown[0], : shown[1]]
                sharp = resize_sharp(crop, *size)
                distance_m = 1 / float(inverse_dpt)
                distances.append(median_distance(teacher, sweep, bank, sharp, distance_m))
            moves += [abs(float(found / distances[0]) - 1) for found in distances[1:]]
    assert len(moves) >= 24
    assert np.median(moves) < 0.05
