"""Training steps: what each loss depends on; and the optimiser of each weight."""

import pytest
import torch
from torch import nn
from torch.autograd.graph import saved_tensors_hooks

from rangefinder.config import OptimiserParams, Parameters, StudentParams, TeacherParams
from rangefinder.errors import ConfigError
from rangefinder.models.distribution import DistanceDistribution
from rangefinder.models.student import Student
from rangefinder.models.teacher import Teacher
from rangefinder.training.lightning_modules import StudentModule, optimiser
from rangefinder.training.runner import RequireMemory

BINS = 48


def module_of(params: Parameters, **changes) -> StudentModule:
    torch.manual_seed(0)
    options = params.student.model_copy(update=changes)
    teacher = Teacher(params.teacher, BINS)
    student = Student(options, params.teacher, BINS)
    return StudentModule(student, teacher, DistanceDistribution(params.prediction), options, 10)


def loss_of(params: Parameters, photos: dict, scenes: dict | None = None, **changes) -> float:
    batch = {"photos": photos} | ({} if scenes is None else {"scenes": scenes})
    return module_of(params, **changes).training_step(batch, 0).item()


@pytest.fixture
def photos(params):
    """Left half near, right half far."""
    distribution = DistanceDistribution(params.prediction)
    dpt = torch.full((1, 4, 8), 1.2)
    dpt[..., 4:] = 0.3
    return {
        "image": torch.rand(1, 3, 48, 64, generator=torch.Generator().manual_seed(1)),
        "location": torch.zeros(1, 2, 48, 64),
        "targets": distribution.pack(distribution.soft_targets(dpt)),
        "negentropy": torch.ones(1, 4, 8),
        "y_px": torch.tensor([[12.5, 20.5, 28.5, 36.5]]),
        "x_px": torch.linspace(12.5, 52.5, 8)[None],
    }


@pytest.fixture
def scenes():
    """A composited scene that is smaller than the photo."""
    inverse_dpt = torch.full((1, 10, 14), 0.4)
    inverse_dpt[:, 5:, 4:] = 1.1
    return {
        "image": torch.rand(1, 3, 37, 53, generator=torch.Generator().manual_seed(2)),
        "location": torch.zeros(1, 2, 37, 53),
        "inverse_dpt": inverse_dpt,
    }


def test_composited_scenes_train_boundaries_and_ranking_but_not_distances(params, photos, scenes):
    flat, farther = (scenes | {"inverse_dpt": torch.full((1, 10, 14), dpt)} for dpt in (0.4, 0.2))
    without_boundary = loss_of(params, photos, flat)
    assert loss_of(params, photos, farther) == pytest.approx(without_boundary)
    assert loss_of(params, photos, scenes) > without_boundary + 0.1
    swapped = scenes | {"inverse_dpt": 1.5 - scenes["inverse_dpt"]}
    assert loss_of(params, photos, swapped) != pytest.approx(loss_of(params, photos, scenes))


def test_the_boundary_loss_does_not_depend_on_distances(params, photos, scenes):
    farther = scenes | {"inverse_dpt": scenes["inverse_dpt"] / 2}
    one, other = (loss_of(params, photos, s, ranking_loss_weight=0.0) for s in (scenes, farther))
    assert one == pytest.approx(other)


def test_trained_boundaries_are_found(params, photos, scenes):
    scenes["image"][:, :, 20:, 16:] *= 0.2  # the near object, from row 5 and column 4 on, is dark
    module = module_of(params)
    optimiser = torch.optim.Adam(module.parameters(), 0.01)
    for _ in range(60):
        optimiser.zero_grad()
        module.training_step({"photos": photos, "scenes": scenes}, 0).backward()
        optimiser.step()
    shown = torch.nn.functional.pad(scenes["image"], (0, 11, 0, 11), "replicate")  # as a photo is
    found = module.network.eval().boundary_logits(shown)[0, :, :10, :14].sigmoid()
    expected = torch.zeros(2, 10, 14, dtype=torch.bool)
    expected[0, 4, 4:] = True
    expected[1, 5:, 3] = True
    assert found[expected].min() > 0.5
    expected[0, -1], expected[1, :, -1] = True, True  # nothing lies beyond the photo
    assert found[~expected].max() < 0.5


def test_what_a_larger_scene_shows_beyond_the_photo_is_not_trained(params, photos, scenes):
    large = {
        name: torch.nn.functional.pad(x, (0, 40, 0, 40), "replicate") for name, x in scenes.items()
    }
    flat = torch.full((1, 20, 24), 0.4)
    beyond = flat.clone()
    beyond[:, 12:, 16:] = 1.1  # the photo has 48 x 64 px
    flat_scene, cut_scene = (large | {"inverse_dpt": known} for known in (flat, beyond))
    assert loss_of(params, photos, cut_scene) == pytest.approx(loss_of(params, photos, flat_scene))


def test_boundaries_train_the_boundary_network_and_the_features_of_the_cells(
    params, photos, scenes
):
    module = module_of(params)
    torch.nn.init.normal_(module.auxiliary_head.head.weight)
    unweighted = photos | {"negentropy": torch.zeros(1, 4, 8)}
    module.training_step({"photos": unweighted, "scenes": scenes}, 0).backward()
    trained = {name for name, p in module.named_parameters() if p.grad is not None and p.grad.any()}
    assert {
        "network.boundaries.head.bias",
        "auxiliary_head.head.bias",
        "network.projection.conv.weight",
    } <= trained
    assert not any("auxiliary_head" in name for name in module.network.state_dict())


def test_negentropy_weighs_cells_only_if_configured(params, photos):
    uncertain = photos | {"negentropy": torch.linspace(0.1, 1, 32).reshape(1, 4, 8)}
    even, by_all = (
        {"negentropy_weighting": on, "full_weight_negentropy": 1.0} for on in (False, True)
    )
    alike = loss_of(params, photos, **even)
    assert loss_of(params, uncertain, **even) == pytest.approx(alike)
    assert loss_of(params, uncertain, **by_all) != pytest.approx(alike, rel=1e-4)


def test_weights_are_proportional_to_negentropy_up_to_full_weight(params, photos):
    half = {"negentropy_weighting": True, "full_weight_negentropy": 0.5}
    certain = photos | {"negentropy": torch.full((1, 4, 8), 0.6)}
    more_certain = certain | {"negentropy": torch.ones(1, 4, 8)}
    more_certain["negentropy"][..., 4:] = 0.6
    assert loss_of(params, certain, **half) == pytest.approx(loss_of(params, more_certain, **half))
    uncertain = certain | {"negentropy": certain["negentropy"].clone()}
    uncertain["negentropy"][..., 4:] = 0.25
    by_half = loss_of(params, uncertain, **half)
    near, far = (loss_of(params, _only(certain, part), **half) for part in (0, 1))
    cost = torch.tensor([1.2, 0.3]) * torch.tensor([1.0, 0.5])
    expected = (cost[0] * near + cost[1] * far) / cost.sum()
    assert by_half == pytest.approx(float(expected), rel=0.01)


def _only(photos, part):
    """One half of a photo with negentropy, 0 in the other."""
    negentropy = photos["negentropy"].clone()
    negentropy[..., 4 - 4 * part : 8 - 4 * part] = 0
    return photos | {"negentropy": negentropy}


@pytest.mark.parametrize("weighted", [False, True])
def test_cells_with_uniform_targets_are_not_trained(params, photos, weighted):
    half = photos | {"negentropy": torch.ones(1, 4, 8)}
    half["negentropy"][..., 4:] = 0
    wrong = half | {"targets": half["targets"].clone()}
    wrong["targets"][..., 4:, :] = photos["targets"][..., :4, :]
    losses = [loss_of(params, one, negentropy_weighting=weighted) for one in (half, wrong)]
    assert losses[0] == pytest.approx(losses[1])
    assert loss_of(params, photos) != pytest.approx(losses[0], rel=1e-4)


TEACHER = TeacherParams()


@pytest.mark.parametrize("network", [Teacher(TEACHER, 48), Student(StudentParams(), TEACHER, 48)])
def test_muon_optimises_hidden_convolutions_and_adamw_all_else(network):
    muon = optimiser(network, TEACHER, 100)["optimizer"]
    hidden, others = ({id(p) for p in group["params"]} for group in muon.param_groups)
    assert not hidden & others
    assert hidden | others == {id(p) for p in network.parameters()}
    convolutions = {
        id(p)
        for m in network.modules()
        if isinstance(m, nn.Conv2d)
        for p in m.parameters()
        if p.ndim == 4
    }
    assert hidden < convolutions
    named = dict(network.named_modules())
    outputs = [m for name, m in named.items() if name.split(".")[-1] in {"head", "modulation"}]
    assert network.head in outputs
    assert convolutions - hidden == {
        id(m.weight) for a in outputs for m in a.modules() if isinstance(m, nn.Conv2d)
    }


def test_frozen_weights_are_not_changed():
    network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Conv2d(4, 2, 1))
    network[0].requires_grad_(False)
    before = [p.detach().clone() for p in network.parameters()]
    muon = optimiser(network, TEACHER, 10)["optimizer"]
    network(torch.ones(1, 3, 8, 8)).square().sum().backward()
    muon.step()
    changed = [not torch.equal(a, b) for a, b in zip(before, network.parameters(), strict=True)]
    assert changed == [False, False, True, True]


def test_a_network_without_convolutions_is_optimised_too():
    torch.manual_seed(0)
    network = nn.Sequential(nn.Flatten(), nn.Linear(12, 1))
    x = torch.randn(64, 3, 2, 2)
    y = x.flatten(1)[:, :3].sum(1, keepdim=True)
    found = optimiser(network, OptimiserParams(learning_rate=0.1, weight_decay=0.0), 60)
    muon, schedule = found["optimizer"], found["lr_scheduler"]["scheduler"]
    losses = []
    for _ in range(60):
        loss = (network(x) - y).square().mean()
        muon.zero_grad()
        loss.backward()
        muon.step()
        schedule.step()
        losses.append(loss.item())
    assert losses[-1] < 0.5 * losses[0]


def kept_for_gradients(module: StudentModule, forward) -> int:
    """What a pass on real numbers keeps for its gradients [byte], weights left out."""
    weights = {weight.data_ptr() for weight in module.parameters()}
    kept = {}

    def keep(x):
        if x.data_ptr() not in weights:
            kept[x.untyped_storage().data_ptr()] = x
        return x

    with saved_tensors_hooks(keep, lambda x: x):
        forward()
    return sum(x.untyped_storage().nbytes() for x in kept.values())


def test_activations_of_a_step_are_known_before_they_take_memory(params, photos, scenes):
    module = module_of(params)
    batch = {"photos": photos, "scenes": scenes}
    before = torch.get_rng_state()
    found = module.activation_bytes(batch)
    assert torch.equal(torch.get_rng_state(), before)
    count = len(photos["image"]) + len(scenes["image"])
    image, location = (photos[name][:1].repeat(count, 1, 1, 1) for name in ("image", "location"))
    real = kept_for_gradients(module, lambda: module.network.cell_logits(image, location))
    assert found == pytest.approx(real, rel=0.02)


def test_a_step_that_does_not_fit_is_refused_with_both_sizes(params, photos):
    module = module_of(params)
    large = {
        name: torch.empty(1, 1, 1, 1, device="meta").expand(64, 3, 20_000, 20_000)
        for name in photos
    }
    large["location"] = large["image"][:, :2]
    with pytest.raises(ConfigError, match=r"GB of activations; expected at most the .* GB"):
        RequireMemory(torch.bfloat16).on_train_batch_start(None, module, {"photos": large}, 0)
