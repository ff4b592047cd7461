"""What a training step counts."""

import pytest
import torch

from rangefinder.config import Parameters
from rangefinder.models.prediction import Prediction
from rangefinder.models.student import Student
from rangefinder.models.teacher import Teacher
from rangefinder.training import modules
from rangefinder.training.modules import StudentModule

BINS = 48


def module_of(params: Parameters, **changes) -> StudentModule:
    torch.manual_seed(0)
    options = params.student.model_copy(update=changes)
    teacher = Teacher(params.teacher, BINS)
    student = Student(options, params.teacher, BINS)
    return StudentModule(student, teacher, Prediction(params.prediction), options, 10)


def loss_of(params: Parameters, photos: dict, laid: dict | None = None, **changes) -> float:
    batch = {"photos": photos} | ({} if laid is None else {"laid": laid})
    return module_of(params, **changes).training_step(batch, 0).item()


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


def test_of_scenes_of_charts_borders_and_sides_are_learned_and_no_distances(params, photos, laid):
    flat, farther = (laid | {"inverse_dpt": torch.full((1, 10, 14), dpt)} for dpt in (0.4, 0.2))
    borderless = loss_of(params, photos, flat)
    assert loss_of(params, photos, farther) == pytest.approx(borderless)
    assert loss_of(params, photos, laid) > borderless + 0.1  # a newborn student sees no borders
    swapped = laid | {"inverse_dpt": 1.5 - laid["inverse_dpt"]}
    assert loss_of(params, photos, swapped) != pytest.approx(loss_of(params, photos, laid))


def test_borders_teach_no_distances(params, photos, laid, monkeypatch):
    monkeypatch.setattr(modules, "SIDES_WEIGHT", 0.0)
    farther = laid | {"inverse_dpt": laid["inverse_dpt"] / 2}
    assert loss_of(params, photos, farther) == pytest.approx(loss_of(params, photos, laid))


def test_borders_are_found_once_they_are_learned(params, photos, laid):
    laid["image"][:, :, 20:, 16:] *= 0.2  # the near thing, from row 5 and column 4 on, is dark
    module = module_of(params)
    optimiser = torch.optim.Adam(module.parameters(), 0.01)
    for _ in range(60):
        optimiser.zero_grad()
        module.training_step({"photos": photos, "laid": laid}, 0).backward()
        optimiser.step()
    shown = torch.nn.functional.pad(laid["image"], (0, 11, 0, 11), "replicate")  # as a photo is
    found = module.network.eval().borders_in(shown)[0, :, :10, :14].sigmoid()
    wanted = torch.zeros(2, 10, 14, dtype=torch.bool)
    wanted[0, 4, 4:] = True
    wanted[1, 5:, 3] = True
    assert found[wanted].min() > 0.5
    wanted[0, -1], wanted[1, :, -1] = True, True  # nothing lies beyond the photo
    assert found[~wanted].max() < 0.5


def test_what_lies_beyond_a_photo_of_a_larger_scene_is_not_learned(params, photos, laid):
    large = {
        name: torch.nn.functional.pad(x, (0, 40, 0, 40), "replicate") for name, x in laid.items()
    }
    flat = torch.full((1, 20, 24), 0.4)
    beyond = flat.clone()
    beyond[:, 12:, 16:] = 1.1  # the photo has 48 x 64 px
    hidden, seen = (large | {"inverse_dpt": known} for known in (flat, beyond))
    assert loss_of(params, photos, seen) == pytest.approx(loss_of(params, photos, hidden))


def test_borders_are_learned_by_their_own_network_and_by_what_answers_are_made_of(
    params, photos, laid
):
    module = module_of(params)
    torch.nn.init.normal_(module.hints.head.weight)
    untaught = photos | {"confidence": torch.zeros(1, 4, 8)}
    module.training_step({"photos": untaught, "laid": laid}, 0).backward()
    taught = {name for name, p in module.named_parameters() if p.grad is not None and p.grad.any()}
    assert {"network.borders.head.bias", "hints.head.bias", "network.mix.conv.weight"} <= taught
    assert not any("hints" in name for name in module.network.state_dict())


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
