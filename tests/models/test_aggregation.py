"""Edge-aware aggregation of posteriors, and uniform posteriors where a photo is saturated."""

import pytest
import torch

from rangefinder.config import StudentParams, TeacherParams
from rangefinder.models import aggregation
from rangefinder.models.aggregation import (
    Cells,
    aggregate,
    cell_log_light,
    recursive_filter,
    uniform_where_saturated,
    weighted_posteriors,
)
from rangefinder.models.student import Student

PARAMS = StudentParams(aggregation_sd=0.15)


def aggregated(log_probs, colour, boundaries=None):
    return aggregate(Cells(weighted_posteriors(log_probs), colour, boundaries), PARAMS)


def certain(bins):
    """Logarithms of distributions that are certain of one of three bins."""
    logits = 200 * torch.nn.functional.one_hot(torch.as_tensor(bins), 3).float()
    return logits[None].log_softmax(-1)


@pytest.mark.parametrize("size", [(1, 1), (3, 30), (20, 9)])
def test_equal_posteriors_stay(size):
    probs = torch.rand(3).softmax(-1).expand(2, *size, 3)
    colour = torch.randn(2, *size, 3)
    torch.testing.assert_close(aggregated(probs.log(), colour), probs)


def test_posteriors_mix_within_a_surface_and_not_across_a_colour_edge():
    bins = torch.zeros(3, 6, dtype=torch.long)
    bins[:, 3:] = 1
    bins[1, 1] = 2  # a cell alone, within a surface
    colour = torch.zeros(1, 3, 6, 3)
    colour[:, :, 3:] = 2.0  # the other surface has another colour
    found = aggregated(certain(bins), colour)[0]
    assert found[1, 1, 0] > 0.5  # outvoted
    assert found[1, 1, 2] > 0.1  # yet possible
    assert found[:, :3, 1].max() < 1e-6
    assert found[:, 3:, 0].max() < 1e-6


def test_equal_colours_do_not_mix_across_another_surface():
    bins = (torch.arange(21) // 7).expand(5, 21)  # one surface behind another, seen on both sides
    colour = torch.where(bins == 1, 2.0, 0.0)[None, ..., None].expand(1, 5, 21, 3)
    found = aggregated(certain(bins), colour)[0]
    assert found[:, :7, 1:].max() < 1e-6
    assert found[:, 14:, :2].max() < 1e-6


def no_boundaries(rows, cols):
    return torch.full((1, rows, cols, 2), -20.0)


def test_posteriors_do_not_mix_across_an_occlusion_boundary_without_a_colour_edge():
    bins = torch.zeros(8, 12, dtype=torch.long)
    bins[:, 7:] = 1
    colour, boundaries = torch.zeros(1, 8, 12, 3), no_boundaries(8, 12)
    mixed = aggregated(certain(bins), colour, boundaries)[0]
    assert mixed[:, :7, 1].min() > 0.1
    boundaries[:, :, 6, 1] = 20.0  # between columns 6 and 7
    found = aggregated(certain(bins), colour, boundaries)[0]
    assert found[:, :7, 1].max() < 1e-6
    assert found[:, 7:, 0].max() < 1e-6
    turned = boundaries.transpose(1, 2).flip(3)
    found = aggregated(certain(bins.T), colour.transpose(1, 2), turned)[0]
    assert found[:7, :, 1].max() < 1e-6
    assert found[7:, :, 0].max() < 1e-6


def test_improbable_boundaries_equal_none():
    log_probs, colour = torch.rand(1, 9, 14, 5).log_softmax(-1), 0.1 * torch.randn(1, 9, 14, 3)
    found = aggregated(log_probs, colour, no_boundaries(9, 14))
    torch.testing.assert_close(found, aggregated(log_probs, colour))


def test_one_certain_cell_decides_a_whole_uniform_surface():
    log_probs = torch.zeros(1, 40, 50, 3).log_softmax(-1)
    log_probs[0, 3, 4] = certain([[1]])[0, 0, 0]
    colour = 0.005 * torch.randn(1, 40, 50, 3)  # noise
    found = aggregated(log_probs, colour)[0]
    assert found[..., 1].min() > 0.5


def test_probabilities_are_mixed_so_that_both_distances_stay_possible():
    bins = torch.arange(16)[None].expand(16, 16) % 8 // 4 * 2  # stripes of the first and last bin
    found = aggregated(certain(bins), torch.zeros(1, 16, 16, 3))[0]
    assert found[..., 1].max() == 0
    assert found[..., 0].min() > 0.1
    assert found[..., 2].min() > 0.1


def test_mirrored_photos_have_mirrored_posteriors():
    log_probs, colour = torch.rand(1, 14, 19, 5).log_softmax(-1), 0.2 * torch.randn(1, 14, 19, 3)
    for axes in ((1,), (2,), (1, 2)):
        mirrored = aggregated(log_probs.flip(axes), colour.flip(axes)).flip(axes)
        torch.testing.assert_close(mirrored, aggregated(log_probs, colour))


@pytest.mark.parametrize("size", [(61, 64), (62, 63), (57, 5)])
def test_colours_are_those_of_the_cells_pixels(size):
    image = torch.zeros(1, 3, *size)
    image[:, 0] = torch.arange(size[0])[:, None] / 100
    image[:, 1] = torch.arange(size[1]) / 100
    cells = -(-size[0] // 4), -(-size[1] // 4)
    light = cell_log_light(image, 4).exp()[0] - 0.02
    assert light.shape == (*cells, 3)
    for axis in (0, 1):
        place_px = light.select(1 - axis, 0)[:, axis] * 100
        expected = 4 * torch.arange(cells[axis]) + 0.5
        torch.testing.assert_close(place_px[1:-1], expected[1:-1])


def test_impossible_bins_stay_finite():
    logits = torch.full((1, 4, 10, 10), -1e4)
    logits[:, 0] = 0.0
    log_probs = logits.movedim(1, -1).log_softmax(-1)
    found = aggregated(log_probs, torch.rand(1, 10, 10, 3))
    assert torch.isfinite(found).all()
    assert (found.argmax(-1) == 0).all()


@pytest.mark.parametrize("values", [1, 600, 2000])
def test_large_photos_are_filtered_strip_by_strip(values, monkeypatch):
    log_probs, colour = torch.rand(1, 14, 19, 5).log_softmax(-1), 0.2 * torch.randn(1, 14, 19, 3)
    boundaries = torch.randn(1, 14, 19, 2) - 3
    expected = aggregated(log_probs, colour, boundaries)
    monkeypatch.setattr(aggregation, "STRIP_VALUES", values)
    torch.testing.assert_close(aggregated(log_probs, colour, boundaries), expected)


@pytest.mark.parametrize("size", [(61, 64), (62, 63), (40, 5)])
def test_only_cells_amid_mostly_saturated_pixels_become_uniform(size):
    cells = tuple(-(-side // 4) for side in size)
    logits, image = torch.randn(1, 6, *cells), torch.full((1, 3, *size), 0.5)
    image[:, 1, :20] = 1.0  # one colour is enough
    image[:, :, 30, 3] = 1.0  # a glint is not
    found = uniform_where_saturated(logits, image, 4).softmax(1)
    given = logits.softmax(1)
    torch.testing.assert_close(found[:, :, :5], torch.full_like(given[:, :, :5], 1 / 6))
    torch.testing.assert_close(found[:, :, 5:], given[:, :, 5:])


@pytest.mark.parametrize("aggregation_sd", [None, 0.1])
def test_a_white_photo_has_uniform_posteriors(aggregation_sd):
    teacher = TeacherParams(stem_channels=(4, 8), channels=8, filters=4, projection_channels=8)
    params = StudentParams(channels=(8, 12, 16), aggregation_sd=aggregation_sd)
    student = Student(params, teacher, 10).eval()
    location = torch.zeros(1, 2, 72, 96)
    white = student(torch.ones(1, 3, 72, 96), location).softmax(1)
    torch.testing.assert_close(white, torch.full_like(white, 0.1))
    grey = student(torch.rand(1, 3, 72, 96) / 2, location).softmax(1)
    assert (grey.amax(1) > 0.11).float().mean() > 0.5


@pytest.mark.parametrize("axis", [1, 2])
def test_filter_of_exported_graphs_is_the_recursive_filter(axis, monkeypatch):
    values, edges = torch.rand(2, 5, 7, 3), torch.rand(2, 5, 7, 1).narrow(axis, 0, 4)
    values = values.narrow(axis, 0, 5)
    expected = recursive_filter(axis, values, edges)
    monkeypatch.setattr(torch.compiler, "is_exporting", lambda: True)
    torch.testing.assert_close(recursive_filter(axis, values, edges), expected)
