"""The loss is a cross-entropy of distributions, weighted by cell."""

import pytest
import torch

from rangefinder.training.losses import border_loss, cross_entropy


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


def scene():
    """A near thing in the right lower corner, before something farther."""
    inverse_dpt = torch.full((1, 4, 6), 0.5)
    inverse_dpt[:, 2:, 3:] = 1.0
    return inverse_dpt


def borders_of(inverse_dpt):
    """Logits that are sure of the borders to the cell below and to the right."""
    logits = torch.full((1, 2, *inverse_dpt.shape[1:]), -20.0)
    logits[:, 0, :-1][inverse_dpt.diff(dim=1) != 0] = 20.0
    logits[:, 1, :, :-1][inverse_dpt.diff(dim=2) != 0] = 20.0
    return logits


def test_borders_are_to_be_found_where_distance_steps():
    right = borders_of(scene())
    assert border_loss(right, scene()).item() < 1e-6
    for axis, row, col in ((0, 1, 4), (1, 3, 2), (0, 0, 0), (1, 0, 4)):
        wrong = right.clone()
        wrong[:, axis, row, col] *= -1
        assert border_loss(wrong, scene()).item() == pytest.approx(20 / (3 * 6 + 4 * 5))


def test_small_steps_are_no_borders():
    slanted = torch.linspace(0.5, 0.52, 6).expand(1, 4, 6)
    assert border_loss(torch.full((1, 2, 4, 6), -20.0), slanted).item() < 1e-6


def test_beyond_the_photo_and_where_nothing_is_known_no_borders_are_learned():
    partly = scene()
    partly[:, :, 4:] = 0
    logits = borders_of(scene())
    changed = logits.clone()
    changed[:, :, :, 4:] = 7.0
    changed[:, 1, :, 3] = 7.0  # towards the unknown
    changed[:, 0, -1] = 7.0  # nothing is below
    torch.testing.assert_close(border_loss(logits, partly), border_loss(changed, partly))
    assert border_loss(logits, torch.zeros(1, 4, 6)).item() == 0
