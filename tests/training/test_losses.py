"""The loss is a cross-entropy of distributions, weighted by cell."""

import math

import pytest
import torch

from rangefinder.training.losses import border_loss, cross_entropy, side_loss


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


def answers_of(inverse_dpt, sharpness=1.0):
    """Logits and the distributions that they are to be, of distances known to a bin of ten."""
    bins = (inverse_dpt * 8).round().long().clamp(0, 9)
    target = torch.nn.functional.one_hot(bins, 10).float()
    return sharpness * 20 * target.movedim(-1, 1), target


def test_sides_are_told_by_their_own_distance():
    right, target = answers_of(scene())
    assert side_loss(right, target, scene()).item() < 1e-6
    other, _ = answers_of(1.5 - scene())  # each side answers as the other should
    assert side_loss(other, target, scene()).item() == pytest.approx(20)
    nothing = torch.zeros(1, 10, 4, 6)
    assert side_loss(nothing, target, scene()).item() == pytest.approx(math.log(2))


def test_how_likely_other_distances_are_is_not_learned_from_sides():
    right, target = answers_of(scene(), 0.1)
    elsewhere = right.clone()
    elsewhere[:, 0] += 7.0  # neither the near thing's bin, nor the other's
    loss = side_loss(right, target, scene())
    torch.testing.assert_close(side_loss(elsewhere, target, scene()), loss)


def test_away_from_borders_and_where_nothing_is_known_no_sides_are_learned():
    wide = torch.full((1, 8, 16), 0.5)
    wide[:, :, 8:] = 1.0
    wide[:, 7] = 0
    logits, target = answers_of(wide, 0.1)
    changed = logits.clone()
    changed[..., :4] = torch.randn(1, 10, 8, 4)
    changed[:, :, 7] = torch.randn(1, 10, 16)
    torch.testing.assert_close(side_loss(logits, target, wide), side_loss(changed, target, wide))
    flat = torch.full((1, 3, 3), 0.5)  # smaller than the farthest pairs are apart
    assert side_loss(*answers_of(flat), flat).item() == 0
