"""Which weights learn how."""

import pytest
import torch
from torch import nn

from rangefinder.config import StudentParams, TeacherParams
from rangefinder.models.student import Student
from rangefinder.models.teacher import Teacher
from rangefinder.training.optimiser import optimiser

TEACHER = TeacherParams()


@pytest.mark.parametrize("network", [Teacher(TEACHER, 48), Student(StudentParams(), TEACHER, 48)])
def test_hidden_convolutions_learn_by_muon_and_all_else_by_adam(network):
    muon = optimiser(network, 0.02, 0.01, 100)["optimizer"]
    hidden, others = ({id(p) for p in group["params"]} for group in muon.param_groups)
    assert not hidden & others
    assert hidden | others == {id(p) for p in network.parameters()}
    convolutions = {id(m.weight) for m in network.modules() if isinstance(m, nn.Conv2d)}
    assert hidden < convolutions
    named = dict(network.named_modules())
    answers = [m for name, m in named.items() if name.split(".")[-1] in {"head", "modulation"}]
    assert network.head in answers
    assert convolutions - hidden == {
        id(m.weight) for a in answers for m in a.modules() if isinstance(m, nn.Conv2d)
    }


def test_frozen_weights_stay():
    network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Conv2d(4, 2, 1))
    network[0].requires_grad_(False)
    before = [p.detach().clone() for p in network.parameters()]
    muon = optimiser(network, 0.02, 0.01, 10)["optimizer"]
    network(torch.ones(1, 3, 8, 8)).square().sum().backward()
    muon.step()
    changed = [not torch.equal(a, b) for a, b in zip(before, network.parameters(), strict=True)]
    assert changed == [False, False, True, True]


def test_a_network_without_convolutions_learns_too():
    torch.manual_seed(0)
    network = nn.Sequential(nn.Flatten(), nn.Linear(12, 1))
    x = torch.randn(64, 3, 2, 2)
    y = x.flatten(1)[:, :3].sum(1, keepdim=True)
    found = optimiser(network, 0.1, 0.0, 60)
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
