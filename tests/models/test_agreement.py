"""Neighbours that look alike answer together; others do not."""

import pytest
import torch

from rangefinder.models.agreement import agreed, agreed_logits, colour_of_cells

ALIKE = 0.15


def normalised(probs):
    return probs / probs.sum(-1, keepdim=True)


def sure(bins):
    """Logarithms of distributions that are certain of one of three bins."""
    logits = 200 * torch.nn.functional.one_hot(torch.as_tensor(bins), 3).float()
    return logits[None].log_softmax(-1)


@pytest.mark.parametrize("size", [(1, 1), (3, 30), (20, 9)])
def test_where_all_say_the_same_nothing_changes(size):
    probs = torch.rand(3).softmax(-1).expand(2, *size, 3)
    colour = torch.randn(2, *size, 3)
    torch.testing.assert_close(normalised(agreed(probs.log(), colour, ALIKE)), probs)


def test_like_neighbours_are_heard_and_others_are_not():
    bins = torch.zeros(3, 6, dtype=torch.long)
    bins[:, 3:] = 1
    bins[1, 1] = 2  # a cell alone, within a surface
    colour = torch.zeros(1, 3, 6, 3)
    colour[:, :, 3:] = 2.0  # the other surface looks different
    found = normalised(agreed(sure(bins), colour, ALIKE))[0]
    assert found[1, 1, 0] > 0.5  # outvoted
    assert found[1, 1, 2] > 0.1  # yet possible
    assert found[:, :3, 1].max() < 1e-6
    assert found[:, 3:, 0].max() < 1e-6


def test_the_way_between_two_cells_counts_not_their_own_colours():
    bins = (torch.arange(21) // 7).expand(5, 21)  # one surface behind another, seen on both sides
    colour = torch.where(bins == 1, 2.0, 0.0)[None, ..., None].expand(1, 5, 21, 3)
    found = normalised(agreed(sure(bins), colour, ALIKE))[0]
    assert found[:, :7, 1:].max() < 1e-6
    assert found[:, 14:, :2].max() < 1e-6


def no_borders(rows, cols):
    return torch.full((1, 2, rows, cols), -20.0)


def test_nothing_is_heard_across_a_border_that_no_colour_shows():
    bins = torch.zeros(8, 12, dtype=torch.long)
    bins[:, 7:] = 1
    colour, borders = torch.zeros(1, 8, 12, 3), no_borders(8, 12)
    mixed = normalised(agreed(sure(bins), colour, ALIKE, borders))[0]
    assert mixed[:, :7, 1].min() > 0.1
    borders[:, 1, :, 6] = 20.0  # between columns 6 and 7
    found = normalised(agreed(sure(bins), colour, ALIKE, borders))[0]
    assert found[:, :7, 1].max() < 1e-6
    assert found[:, 7:, 0].max() < 1e-6
    turned = borders.transpose(2, 3).flip(1)
    found = normalised(agreed(sure(bins.T), colour.transpose(1, 2), ALIKE, turned))[0]
    assert found[:7, :, 1].max() < 1e-6
    assert found[7:, :, 0].max() < 1e-6


def test_where_no_borders_are_all_is_as_without_them():
    log_probs, colour = torch.rand(1, 9, 14, 5).log_softmax(-1), 0.1 * torch.randn(1, 9, 14, 3)
    found = agreed(log_probs, colour, ALIKE, no_borders(9, 14))
    torch.testing.assert_close(found, agreed(log_probs, colour, ALIKE))


def test_who_knows_tells_who_does_not_from_afar():
    log_probs = torch.zeros(1, 40, 50, 3).log_softmax(-1)
    log_probs[0, 3, 4] = sure([[1]])[0, 0, 0]
    colour = 0.005 * torch.randn(1, 40, 50, 3)  # noise
    found = normalised(agreed(log_probs, colour, ALIKE))[0]
    assert found[..., 1].min() > 0.5


def test_probabilities_are_mixed_so_that_both_distances_stay_possible():
    bins = torch.arange(16)[None].expand(16, 16) % 8 // 4 * 2  # stripes of the first and last bin
    found = normalised(agreed(sure(bins), torch.zeros(1, 16, 16, 3), ALIKE))[0]
    assert found[..., 1].max() == 0
    assert found[..., 0].min() > 0.1
    assert found[..., 2].min() > 0.1


def test_mirrored_photos_have_mirrored_answers():
    log_probs, colour = torch.rand(1, 14, 19, 5).log_softmax(-1), 0.2 * torch.randn(1, 14, 19, 3)
    for axes in ((1,), (2,), (1, 2)):
        mirrored = agreed(log_probs.flip(axes), colour.flip(axes), ALIKE).flip(axes)
        torch.testing.assert_close(mirrored, agreed(log_probs, colour, ALIKE))


@pytest.mark.parametrize("size", [(61, 64), (62, 63), (57, 5)])
def test_colours_are_those_of_the_cells_pixels(size):
    image = torch.zeros(1, 3, *size)
    image[:, 0] = torch.arange(size[0])[:, None] / 100
    image[:, 1] = torch.arange(size[1]) / 100
    cells = -(-size[0] // 4), -(-size[1] // 4)
    light = colour_of_cells(image, 4).exp()[0] - 0.02
    assert light.shape == (*cells, 3)
    for axis in (0, 1):
        place_px = light.select(1 - axis, 0)[:, axis] * 100
        wanted = 4 * torch.arange(cells[axis]) + 0.5
        torch.testing.assert_close(place_px[1:-1], wanted[1:-1])


def test_answers_that_are_impossible_stay_finite():
    logits = torch.full((1, 4, 10, 10), -1e4)
    logits[:, 0] = 0.0
    found = agreed_logits(logits, torch.rand(1, 3, 40, 40), 4, ALIKE)
    assert torch.isfinite(found).all()
    assert (found.argmax(1) == 0).all()
