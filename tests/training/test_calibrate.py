"""What trained models learn of reading their predictions, on the scenes that were watched."""

import numpy as np
import pytest

from rangefinder.deploy.measure import ranger
from rangefinder.models.io import TrainedModel
from rangefinder.training.calibrate import SCENES

from .conftest import make_captures, student_of


@pytest.fixture(scope="module")
def scenes(tmp_path_factory):
    """Captures as usual, watched on enough scenes to learn how far estimates lean."""
    return make_captures(tmp_path_factory.mktemp("set"), labelled=SCENES)


@pytest.fixture(scope="module")
def student(scenes, teacher, cache, params, tmp_path_factory):
    return student_of(scenes, teacher, cache, params, tmp_path_factory.mktemp("student"))


def answered(model, captures, params):
    """True distances of the watched scenes, and what a model says of them."""
    watched = captures.select(role="labelled", split="validation")
    measure = ranger(model, captures.camera, params.cache)
    for index in range(len(watched)):
        said = measure(watched.image(index), watched.placement(index))
        yield watched.distance_map(index).numpy(), said


@pytest.mark.parametrize(("kind", "watched"), [("teacher", "captures"), ("student", "scenes")])
def test_intervals_are_set_right_on_what_was_watched(request, params, kind, watched):
    model, captures = (request.getfixturevalue(name) for name in (kind, watched))
    inside = []
    for truth, said in answered(model, captures, params):
        near, far = said.interval_m[0.8]
        inside.append(((near <= truth) & (truth <= far))[np.isfinite(near)])
    assert np.concatenate(inside).mean() == pytest.approx(0.8, abs=0.12)


def test_every_model_learns_for_itself_and_only_students_how_far_to_lean(teacher, student):
    assert teacher.card.calibration.central != student.card.calibration.central
    assert teacher.card.calibration.nearness == 0.0 != student.card.calibration.nearness


def test_estimates_that_lean_as_learned_err_less(scenes, params, student):
    near_m, far_m = params.range.report_m

    def error(calibration):
        card = student.card.model_copy(update={"calibration": calibration})
        relative = []
        for truth, said in answered(TrainedModel(student.network, card), scenes, params):
            scored = (truth >= near_m) & (truth <= far_m)
            relative.append(np.abs(said.distance_m[scored] / truth[scored] - 1))
        return np.concatenate(relative).mean()

    learned = student.card.calibration
    assert error(learned) < error(learned.model_copy(update={"nearness": 0.0}))


@pytest.mark.parametrize("watched", [{"labelled": SCENES - 1}, {"chart": SCENES}])
def test_few_scenes_or_charts_do_not_say_how_far_to_lean(teacher, cache, params, tmp_path, watched):
    captures = make_captures(tmp_path, **watched)
    student = student_of(captures, teacher, cache, params, tmp_path)
    assert student.card.calibration.nearness == 0.0
