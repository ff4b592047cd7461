"""How often changes of the default camera are found, and other scenes are not: simulated photos.

The student is that of a finished default run of this project; without one the tests skip. Photos
have textures and photographs of the test split, and seeds that no run has.
"""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from rangefinder.camera import Camera
from rangefinder.config import DriftParams, Parameters
from rangefinder.config.project import merged
from rangefinder.inference.drift import DriftTest
from rangefinder.inference.session import Session
from rangefinder.models.model_files import load_model
from rangefinder.optics.psf_bank import bank_for
from rangefinder.optics.psf_sources import camera_record
from rangefinder.optics.srgb import srgb_pixels
from rangefinder.synthesis.renderer import render_captures

from ..conftest import ROOT

STUDENT = ROOT / "data/06_models/student"
PHOTOS, IN_A_SET = 80, 50
SETS = 40
HALF_A_STOP = 2**0.25
CHANGES = {
    "lens": (1, {"camera": {"lens": {"name": "TessarLens"}}, "bank": {"kernel_px": 35}}),
    "aperture": (2, {"camera": {"f_number": round(3.5 * HALF_A_STOP, 3)}}),
    "decentring": (
        3,
        {"camera": {"optical_centre_px": [315.0, 180.0], "symmetric": False}},
    ),  # by 3 mm
    "encoding": (4, {}),
}
SCENES = {
    "as in training": (5, {}),
    "few and weak": (
        6,
        {"captures": {"objects": [2, 6], "weak_texture_share": 0.5, "distance_prior": "log"}},
    ),
}


@pytest.fixture(scope="module")
def student():
    """The student of a default run, which has something to compare with."""
    if not (STUDENT / "card.json").is_file():
        pytest.skip(f"no default run has left {STUDENT.relative_to(ROOT)}")
    model = load_model(STUDENT)
    default = Camera.from_params(Parameters().camera)
    if model.card.drift is None or model.card.camera_fingerprint != default.fingerprint:
        pytest.skip("the student is not of the default camera, or of an earlier version")
    return model


def rate(student, seed, change, folder, *, jpeg=False):
    """Share of sets that are drift, and what was named first in each of these."""
    session, test = Session(student, force=True), DriftTest(student.card, DriftParams())
    photos = [_seen(session, test, light, folder, jpeg) for light in _photos(seed, change, folder)]
    generator = np.random.default_rng(seed)
    drifts = [
        test([photos[i] for i in generator.choice(PHOTOS, IN_A_SET, replace=False)])
        for _ in range(SETS)
    ]
    return np.mean([one.is_drift for one in drifts]), [
        one.causes[0] for one in drifts if one.causes
    ]


def _photos(seed, change, folder):
    counts = {"train_charts": 1, "validation_charts": 0, "unlabelled": 0, "validation": 0}
    captures = {**counts, "test": PHOTOS, "real_scenes": [], "workers": 1}
    params = Parameters.model_validate(
        merged({"seed": 90_000 + seed, "captures": captures}, change)
    )
    record, range_m = camera_record(params.camera, ROOT), params.range.working_m
    bank = bank_for(record, params.bank, range_m, folder, ROOT)
    for capture in render_captures(params, bank):
        if capture.role == "labelled":
            yield capture.image.numpy()


def _seen(session, test, light, folder, jpeg):
    if not jpeg:
        return test.evidence(session.measure(np.ascontiguousarray(light.transpose(1, 2, 0))))
    path = folder / "photo.jpg"
    Image.fromarray(srgb_pixels(light)).save(path, quality=95)
    return test.evidence(session.measure(path))


@pytest.mark.slow
@pytest.mark.parametrize("cause", CHANGES)
def test_changes_are_found_in_95_percent_of_sets(student, cause, tmp_path):
    seed, change = CHANGES[cause]
    share, named = rate(student, seed, change, tmp_path, jpeg=cause == "encoding")
    assert share >= 0.95
    assert named.count(cause) > len(named) / 2


@pytest.mark.slow
@pytest.mark.parametrize("scenes", SCENES)
def test_other_scenes_are_drift_in_5_percent_of_sets_at_most(student, scenes, tmp_path):
    seed, change = SCENES[scenes]
    share, _ = rate(student, seed, change, tmp_path)
    assert share <= 0.05
