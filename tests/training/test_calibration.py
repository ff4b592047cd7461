"""Calibration of trained models on validation captures: intervals, and posterior tilting."""

import numpy as np
import pytest

from rangefinder.config import StudentParams
from rangefinder.inference.predictor import capture_predictions
from rangefinder.models.model_files import TrainedModel

from ..small_training import make_captures, student_of

MIN_SCENES = StudentParams().min_tilt_scenes


@pytest.fixture(scope="module")
def scenes(tmp_path_factory):
    """Captures with enough validation scenes for posterior tilting."""
    return make_captures(tmp_path_factory.mktemp("set"), labelled=MIN_SCENES)


@pytest.fixture(scope="module")
def student(scenes, teacher, cache, params, tmp_path_factory):
    return student_of(scenes, teacher, cache, params, tmp_path_factory.mktemp("student"))


def validated(model, captures, params):
    """True distances of the validation scenes, and what a model predicts."""
    scenes = captures.select(role="labelled", split="validation")
    predict = capture_predictions(model, scenes, params.cache, "cpu")
    for index in range(len(scenes)):
        yield scenes.distance_map(index).numpy(), predict(index)


@pytest.mark.parametrize(("kind", "name"), [("teacher", "captures"), ("student", "scenes")])
def test_intervals_are_calibrated_on_validation_captures(request, params, kind, name):
    model, captures = request.getfixturevalue(kind), request.getfixturevalue(name)
    inside = []
    for truth, predicted in validated(model, captures, params):
        near, far = predicted.interval_m[0.8]
        inside.append(((near <= truth) & (truth <= far))[np.isfinite(near)])
    assert np.concatenate(inside).mean() == pytest.approx(0.8, abs=0.12)


def test_each_model_has_its_calibration_and_only_students_are_tilted(teacher, student):
    assert teacher.card.calibration.central != student.card.calibration.central
    assert teacher.card.calibration.tilt_power == 0.0 != student.card.calibration.tilt_power


def test_fitted_tilting_reduces_the_validation_error(scenes, params, student):
    near_m, far_m = params.range.report_m

    def error(calibration):
        card = student.card.model_copy(update={"calibration": calibration})
        relative = []
        for truth, predicted in validated(TrainedModel(student.network, card), scenes, params):
            scored = (truth >= near_m) & (truth <= far_m)
            relative.append(np.abs(predicted.distance_m[scored] / truth[scored] - 1))
        return np.concatenate(relative).mean()

    fitted = student.card.calibration
    assert error(fitted) < error(fitted.model_copy(update={"tilt_power": 0.0}))


@pytest.mark.parametrize("validation", [{"labelled": MIN_SCENES - 1}, {"chart": MIN_SCENES}])
def test_tilting_is_not_fitted_on_few_scenes_or_charts(
    teacher, cache, params, tmp_path, validation
):
    captures = make_captures(tmp_path, **validation)
    student = student_of(captures, teacher, cache, params, tmp_path)
    assert student.card.calibration.tilt_power == 0.0
