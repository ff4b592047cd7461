"""A student distilled from packed targets is no worse than one distilled from full ones."""

from __future__ import annotations

import numpy as np
import pytest

from rangefinder.cache.fill import fill_cache
from rangefinder.camera import Camera
from rangefinder.captures.manifest import write_captures
from rangefinder.inference.predictor import capture_predictions
from rangefinder.models.model_files import TrainedModel
from rangefinder.studies.benchmark.epochs import UnpackedDistribution
from rangefinder.sweep.sweep import Sweep
from rangefinder.training.assembly import Distillation, train_teacher

from ..small_training import make_capture

SEEDS = (0, 1, 2)
COUNTS = [("chart", "train", 24), ("unlabelled", "train", 16), ("labelled", "validation", 12)]


class FullTargets:
    """The teacher's posteriors, not packed."""

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
    predict = capture_predictions(student, scenes, params.cache, "cpu")
    errors = []
    for index in range(len(scenes)):
        truth = scenes.distance_map(index).numpy()
        errors.append(np.abs(predict(index).distance_m - truth) / truth)
    return float(np.nanmean(errors))


@pytest.mark.slow
def test_packed_targets_make_no_student_worse_by_more_than_two_standard_errors(params, tmp_path):
    every = (make_capture(role, split, i) for role, split, n in COUNTS for i in range(n))
    captures = write_captures(tmp_path / "set", Camera(width_px=64, height_px=48), every)
    longer = params.teacher.model_copy(update={"steps_per_epoch": 40, "max_epochs": 4})
    most = params.student.model_copy(update={"max_epochs": 12})
    params = params.model_copy(update={"teacher": longer, "student": most})
    teacher = train_teacher(captures, params, tmp_path / "teacher", None)
    packed = fill_cache(teacher, captures, params.cache, tmp_path / "cache")
    full = FullTargets(teacher, captures, params.cache)
    plain = TrainedModel(teacher.network, teacher.card)
    plain.distribution = UnpackedDistribution(teacher.card.prediction)
    scores = []
    for seed in SEEDS:
        seeded = params.model_copy(update={"seed": seed})
        pair = [
            Distillation(captures, model, targets, seeded, tmp_path / "student").distil()
            for model, targets in ((teacher, packed), (plain, full))
        ]
        scores.append([abs_rel(student, captures, params) for student in pair])
    worse = -np.diff(scores, axis=1)[:, 0]
    error = worse.std(ddof=1) / np.sqrt(len(SEEDS))
    assert np.isfinite(scores).all()
    assert worse.mean() <= 2 * error, f"packed is worse by {worse.mean():.4f} +- {error:.4f}"
