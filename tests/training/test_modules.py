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


def test_confidence_counts_only_if_asked_to(params, photos):
    unsure = photos | {"confidence": torch.linspace(0.1, 1, 32).reshape(1, 4, 8)}
    even = loss_of(params, photos)
    assert loss_of(params, unsure) == pytest.approx(even)
    assert loss_of(params, unsure, confidence_weighting=True) != pytest.approx(even, rel=1e-4)


@pytest.mark.parametrize("weighted", [False, True])
def test_where_nobody_knows_anything_nothing_is_learned(params, photos, weighted):
    half = photos | {"confidence": torch.ones(1, 4, 8)}
    half["confidence"][..., 4:] = 0
    wrong = half | {"targets": half["targets"].clone()}
    wrong["targets"][..., 4:, :] = photos["targets"][..., :4, :]
    losses = [loss_of(params, one, confidence_weighting=weighted) for one in (half, wrong)]
    assert losses[0] == pytest.approx(losses[1])
    assert loss_of(params, photos) != pytest.approx(losses[0], rel=1e-4)
