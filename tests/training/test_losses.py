"""Losses: cross-entropy weighted by cell and cost; occlusion boundaries; pairwise ranking."""

import math
from functools import partial

import pytest
import torch

from rangefinder.training.losses import boundary_loss, cross_entropy, ranking_loss


def test_the_loss_is_minimal_where_both_distributions_agree():
    target = torch.rand(2, 3, 4, 6).softmax(-1)
    logits = target.log().movedim(-1, 1).clone().requires_grad_()
    cross_entropy(logits, target).backward()
    assert logits.grad.abs().max() < 1e-6


def test_the_minimal_loss_is_the_entropy_of_the_target():
    target = torch.full((1, 2, 2, 8), 1 / 8)
    loss = cross_entropy(torch.zeros(1, 8, 2, 2), target)
    assert loss.item() == pytest.approx(torch.tensor(8.0).log().item())


def test_costs_weigh_cells_without_moving_the_minimum():
    cost = torch.tensor([1.0, 2.0, 8.0])
    certain = torch.eye(3)[None, None]  # three cells, each at the distance of one bin
    logits = torch.zeros(1, 3, 1, 3, requires_grad=True)
    cross_entropy(logits, certain, cost=cost).backward()
    moved = logits.grad.abs().sum(1).flatten()
    expected = cost * (1 - cost / cost.sum())  # weight times error
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


on_boundaries = partial(boundary_loss, step=0.03)
on_ranks = partial(ranking_loss, step=0.1)


def scene():
    """Inverse distance of a near object in the lower right corner, before a farther one."""
    inverse_dpt = torch.full((1, 4, 6), 0.5)
    inverse_dpt[:, 2:, 3:] = 1.0
    return inverse_dpt


def boundaries_of(inverse_dpt):
    """Logits certain of the true boundaries to the cell below and to the right."""
    logits = torch.full((1, 2, *inverse_dpt.shape[1:]), -20.0)
    logits[:, 0, :-1][inverse_dpt.diff(dim=1) != 0] = 20.0
    logits[:, 1, :, :-1][inverse_dpt.diff(dim=2) != 0] = 20.0
    return logits


def test_the_boundary_loss_is_minimal_for_steps_in_distance():
    right = boundaries_of(scene())
    assert on_boundaries(right, scene()).item() < 1e-6
    for axis, row, col in ((0, 1, 4), (1, 3, 2), (0, 0, 0), (1, 0, 4)):
        wrong = right.clone()
        wrong[:, axis, row, col] *= -1
        assert on_boundaries(wrong, scene()).item() == pytest.approx(20 / (3 * 6 + 4 * 5))


def test_small_steps_are_no_boundaries():
    slanted = torch.linspace(0.5, 0.52, 6).expand(1, 4, 6)
    assert on_boundaries(torch.full((1, 2, 4, 6), -20.0), slanted).item() < 1e-6


def test_boundaries_beyond_the_photo_and_next_to_unknown_cells_do_not_count():
    partly = scene()
    partly[:, :, 4:] = 0
    logits = boundaries_of(scene())
    changed = logits.clone()
    changed[:, :, :, 4:] = 7.0
    changed[:, 1, :, 3] = 7.0  # towards the unknown
    changed[:, 0, -1] = 7.0  # nothing is below
    torch.testing.assert_close(on_boundaries(logits, partly), on_boundaries(changed, partly))
    assert on_boundaries(logits, torch.zeros(1, 4, 6)).item() == 0


def predictions_of(inverse_dpt, sharpness=1.0):
    """Logits and target distributions of distances in one of ten bins."""
    bins = (inverse_dpt * 8).round().long().clamp(0, 9)
    target = torch.nn.functional.one_hot(bins, 10).float()
    return sharpness * 20 * target.movedim(-1, 1), target


def test_the_ranking_loss_is_minimal_for_the_true_order():
    right, target = predictions_of(scene())
    assert on_ranks(right, target, scene()).item() < 1e-6
    other, _ = predictions_of(1.5 - scene())  # each predicts the distance of the other
    assert on_ranks(other, target, scene()).item() == pytest.approx(20)
    nothing = torch.zeros(1, 10, 4, 6)
    assert on_ranks(nothing, target, scene()).item() == pytest.approx(math.log(2))


def test_the_ranking_loss_does_not_depend_on_other_distances():
    right, target = predictions_of(scene(), 0.1)
    elsewhere = right.clone()
    elsewhere[:, 0] += 7.0  # another bin than those of the two
    loss = on_ranks(right, target, scene())
    torch.testing.assert_close(on_ranks(elsewhere, target, scene()), loss)


def test_cells_far_from_boundaries_and_unknown_ones_are_not_ranked():
    wide = torch.full((1, 8, 16), 0.5)
    wide[:, :, 8:] = 1.0
    wide[:, 7] = 0
    logits, target = predictions_of(wide, 0.1)
    changed = logits.clone()
    changed[..., :4] = torch.randn(1, 10, 8, 4)
    changed[:, :, 7] = torch.randn(1, 10, 16)
    torch.testing.assert_close(on_ranks(logits, target, wide), on_ranks(changed, target, wide))
    flat = torch.full((1, 3, 3), 0.5)  # smaller than the farthest pairs are apart
    assert on_ranks(*predictions_of(flat), flat).item() == 0
