"""What a training step counts."""

import pytest
import torch

from rangefinder.config import Parameters
from rangefinder.models.prediction import Prediction
from rangefinder.models.student import Student
from rangefinder.models.teacher import Teacher
from rangefinder.training.modules import StudentModule

BINS = 48


def loss_of(params: Parameters, photos: dict, **changes) -> float:
    torch.manual_seed(0)
    options = params.student.model_copy(update=changes)
    teacher = Teacher(params.teacher, BINS)
    module = StudentModule(
        Student(options, params.teacher, BINS), teacher, Prediction(params.prediction), options, 10
    )
    return module.training_step({"photos": photos}, 0).item()


@pytest.fixture
def photos(params):
    """Left half near, right half far; the student knows nothing of either."""
    prediction = Prediction(params.prediction)
    dpt = torch.full((1, 4, 8), 1.2)
    dpt[..., 4:] = 0.3
    return {
        "image": torch.rand(1, 3, 48, 64, generator=torch.Generator().manual_seed(1)),
        "location": torch.zeros(1, 2, 48, 64),
        "targets": prediction.pack(prediction.soft_targets(dpt)),
        "confidence": torch.ones(1, 4, 8),
        "y_px": torch.tensor([[12.5, 20.5, 28.5, 36.5]]),
        "x_px": torch.linspace(12.5, 52.5, 8)[None],
    }


@pytest.fixture
def laid():
    """A scene of charts that is smaller than the photo."""
    inverse_dpt = torch.full((1, 10, 14), 0.4)
    inverse_dpt[:, 5:, 4:] = 1.1
    return {
        "image": torch.rand(1, 3, 37, 53, generator=torch.Generator().manual_seed(2)),
        "location": torch.zeros(1, 2, 37, 53),
        "inverse_dpt": inverse_dpt,
    }


def test_of_scenes_of_charts_borders_are_learned_and_no_distances(params, photos, laid):
    torch.manual_seed(0)
    teacher = Teacher(params.teacher, BINS)
    student = Student(params.student, params.teacher, BINS)
    module = StudentModule(student, teacher, Prediction(params.prediction), params.student, 10)
    farther = laid | {"inverse_dpt": laid["inverse_dpt"] / 2}
    flat = laid | {"inverse_dpt": torch.full((1, 10, 14), 0.4)}
    losses = [
        module.training_step({"photos": photos, "laid": scene}, 0).item()
        for scene in (laid, farther, flat)
    ]
    assert losses[0] == pytest.approx(losses[1])
    assert losses[0] > losses[2] + 0.1  # a newborn student sees no borders


def test_scenes_of_charts_may_be_larger_than_photos(params, photos, laid):
    large = {
        name: torch.nn.functional.pad(x, (0, 40, 0, 40), "replicate") for name, x in laid.items()
    }
    large["inverse_dpt"] = torch.full((1, 20, 24), 0.4)
    large["inverse_dpt"][:, 12:, 16:] = 1.1  # beyond the photo's 48 x 64 px
    seen = {"photos": photos, "laid": large}
    hidden = {"photos": photos, "laid": large | {"inverse_dpt": torch.full((1, 20, 24), 0.4)}}
    losses = []
    for batch in (seen, hidden):
        torch.manual_seed(0)
        student = Student(params.student, params.teacher, BINS)
        module = StudentModule(
            student,
            Teacher(params.teacher, BINS),
            Prediction(params.prediction),
            params.student,
            10,
        )
        losses.append(module.training_step(batch, 0).item())
    assert losses[0] == pytest.approx(losses[1])


def test_confidence_counts_only_if_asked_to(params, photos):
    unsure = photos | {"confidence": torch.linspace(0.1, 1, 32).reshape(1, 4, 8)}
    even, by_all = ({"confidence_weighting": on, "full_confidence": 1.0} for on in (False, True))
    alike = loss_of(params, photos, **even)
    assert loss_of(params, unsure, **even) == pytest.approx(alike)
    assert loss_of(params, unsure, **by_all) != pytest.approx(alike, rel=1e-4)


def test_a_cell_that_is_sure_enough_counts_fully(params, photos):
    half = {"confidence_weighting": True, "full_confidence": 0.5}
    sure = photos | {"confidence": torch.full((1, 4, 8), 0.6)}
    surer = sure | {"confidence": torch.ones(1, 4, 8)}
    surer["confidence"][..., 4:] = 0.6
    assert loss_of(params, sure, **half) == pytest.approx(loss_of(params, surer, **half))
    unsure = sure | {"confidence": sure["confidence"].clone()}
    unsure["confidence"][..., 4:] = 0.25
    by_half = loss_of(params, unsure, **half)
    near, far = (loss_of(params, _only(sure, part), **half) for part in (0, 1))
    cost = torch.tensor([1.2, 0.3]) * torch.tensor([1.0, 0.5])
    expected = (cost[0] * near + cost[1] * far) / cost.sum()
    assert by_half == pytest.approx(float(expected), rel=0.01)


def _only(photos, part):
    """Nobody knows anything of the other half."""
    confidence = photos["confidence"].clone()
    confidence[..., 4 - 4 * part : 8 - 4 * part] = 0
    return photos | {"confidence": confidence}


@pytest.mark.parametrize("weighted", [False, True])
def test_where_nobody_knows_anything_nothing_is_learned(params, photos, weighted):
    half = photos | {"confidence": torch.ones(1, 4, 8)}
    half["confidence"][..., 4:] = 0
    wrong = half | {"targets": half["targets"].clone()}
    wrong["targets"][..., 4:, :] = photos["targets"][..., :4, :]
    losses = [loss_of(params, one, confidence_weighting=weighted) for one in (half, wrong)]
    assert losses[0] == pytest.approx(losses[1])
    assert loss_of(params, photos) != pytest.approx(losses[0], rel=1e-4)
