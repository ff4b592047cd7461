"""A student taught from the compact cache is no worse than one taught from full ones."""

from __future__ import annotations

import numpy as np
import pytest

from rangefinder.cache.fill import fill_cache
from rangefinder.cache.sweep import Sweep
from rangefinder.camera import Camera
from rangefinder.captures.manifest import write_captures
from rangefinder.deploy.measure import ranger
from rangefinder.models.io import TrainedModel
from rangefinder.training.fit import distil_student, train_teacher
from rangefinder.training.pace import Plain

from .conftest import make_capture

SEEDS = (0, 1, 2)
WANTED = [("chart", "train", 24), ("unlabelled", "train", 16), ("labelled", "validation", 12)]


class FullTargets:
    """What the teacher says, not packed."""

    fingerprint = "full"

    def __init__(self, teacher, captures, params):
        card = teacher.card
        sweep = Sweep(teacher.network, captures.camera, params, card.patch_px, card.stride_px)
        photos = captures.select(role="unlabelled")
        self.probs = {
            name: sweep(photos.image(i), photos.placement(i))
            for i, name in enumerate(photos.table["capture_id"])
        }

    def read(self, capture_id):
        return self.probs[capture_id].clone()


def abs_rel(student, captures, params):
    scenes = captures.select(role="labelled")
    measure = ranger(student, captures.camera, params.cache)
    errors = []
    for index in range(len(scenes)):
        truth = scenes.distance_map(index).numpy()
        said = measure(scenes.image(index), scenes.placement(index)).distance_m
        errors.append(np.abs(said - truth) / truth)
    return float(np.nanmean(errors))


@pytest.mark.slow
def test_packed_targets_make_no_student_worse_by_more_than_two_standard_errors(params, tmp_path):
    every = (make_capture(role, split, i) for role, split, n in WANTED for i in range(n))
    captures = write_captures(tmp_path / "set", Camera(width_px=64, height_px=48), every)
    teaching = params.teacher.model_copy(update={"steps_per_epoch": 40, "max_epochs": 4})
    learning = params.student.model_copy(update={"max_epochs": 12})
    params = params.model_copy(update={"teacher": teaching, "student": learning})
    teacher = train_teacher(captures, params, tmp_path / "teacher", None)
    packed = fill_cache(teacher, captures, params.cache, tmp_path / "cache")
    full = FullTargets(teacher, captures, params.cache)
    plain = TrainedModel(teacher.network, teacher.card)
    plain.prediction = Plain(teacher.card.prediction)
    scores = []
    for seed in SEEDS:
        own = params.model_copy(update={"seed": seed})
        pair = [
            distil_student(captures, who, targets, own, tmp_path / "student", None)
            for who, targets in ((teacher, packed), (plain, full))
        ]
        scores.append([abs_rel(student, captures, params) for student in pair])
    worse = -np.diff(scores, axis=1)[:, 0]
    error = worse.std(ddof=1) / np.sqrt(len(SEEDS))
    assert np.isfinite(scores).all()
    assert worse.mean() <= 2 * error, f"packed is worse by {worse.mean():.4f} +- {error:.4f}"
