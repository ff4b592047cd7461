"""The loss is a cross-entropy of distributions, weighted by cell."""

import pytest
import torch

from rangefinder.training.losses import cross_entropy


def test_the_loss_is_least_where_both_distributions_agree():
    target = torch.rand(2, 3, 4, 6).softmax(-1)
    logits = target.log().movedim(-1, 1).clone().requires_grad_()
    cross_entropy(logits, target).backward()
    assert logits.grad.abs().max() < 1e-6


def test_the_least_loss_is_the_targets_entropy():
    target = torch.full((1, 2, 2, 8), 1 / 8)
    loss = cross_entropy(torch.zeros(1, 8, 2, 2), target)
    assert loss.item() == pytest.approx(torch.tensor(8.0).log().item())


def test_what_errors_cost_weighs_cells_but_moves_no_answer():
    cost = torch.tensor([1.0, 2.0, 8.0])
    sure = torch.eye(3)[None, None]  # three cells, each at the distance of one bin
    logits = torch.zeros(1, 3, 1, 3, requires_grad=True)
    cross_entropy(logits, sure, cost=cost).backward()
    moved = logits.grad.abs().sum(1).flatten()
    expected = cost * (1 - cost / cost.sum())  # what each counts times how wrong its answer is
    torch.testing.assert_close(moved / moved.sum(), expected / expected.sum())
    target = torch.rand(2, 3, 4, 3).softmax(-1)
    logits = target.log().movedim(-1, 1).clone().requires_grad_()
    cross_entropy(logits, target, cost=cost).backward()
    assert logits.grad.abs().max() < 1e-6


def test_cells_without_weight_do_not_count():
    target = torch.rand(1, 2, 2, 6).softmax(-1)
    weight = torch.tensor([[[1.0, 0.0], [0.0, 1.0]]])
    logits = torch.randn(1, 6, 2, 2)
    changed = logits.clone()
    changed[:, :, 0, 1] += 5 * torch.randn(6)
    torch.testing.assert_close(
        cross_entropy(logits, target, weight), cross_entropy(changed, target, weight)
    )
