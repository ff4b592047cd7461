"""Distillation targets: cross-bilateral aggregation of the teacher's posteriors."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from rangefinder.config import AggregationParams, PredictionParams
from rangefinder.coordinates import PatchGrid
from rangefinder.models.distribution import DistanceDistribution
from rangefinder.training.lightning_modules import MIN_NEGENTROPY
from rangefinder.training.targets import DistillationTargets, Targets, cross_bilateral_aggregate

DISTRIBUTION = DistanceDistribution(PredictionParams())
GRID = PatchGrid(height_px=105, width_px=121, patch_px=41, stride_px=4)
FLAT = torch.full((GRID.rows, GRID.cols, DISTRIBUTION.bins), 1 / DISTRIBUTION.bins)
NEAR, FAR = (DISTRIBUTION.soft_targets(torch.tensor(dpt)) for dpt in (1.2, 0.4))


NEIGHBOURS_ONLY = {"unary_weight": 0.0, "smoothing": 0.0}


def aggregated(probs: Tensor, image: Tensor, **changes: float) -> Targets:
    params = AggregationParams.model_validate(NEIGHBOURS_ONLY | changes)
    return cross_bilateral_aggregate(probs, image, GRID, DISTRIBUTION, params)


def grey() -> Tensor:
    return torch.full((3, GRID.height_px, GRID.width_px), 0.2)


def test_a_uniform_cell_takes_the_posterior_of_a_certain_neighbour() -> None:
    probs = FLAT.clone()
    probs[8, 10] = NEAR
    result = aggregated(probs, grey())
    assert result.probs[4, 6].argmax() == NEAR.argmax()
    assert 0 < result.negentropy[4, 6] < 1


def test_neighbours_are_weighted_by_negentropy() -> None:
    probs = (0.9 * FLAT + 0.1 * FAR).clone()
    probs[8, 10] = NEAR
    result = aggregated(probs, grey())
    estimate = DISTRIBUTION.estimate_dpt(result.probs[8, 10])
    assert abs(float(estimate) - 1.2) < 0.1
    even = aggregated(probs, grey(), negentropy_power=0.0)
    assert float(DISTRIBUTION.estimate_dpt(even.probs[8, 10])) < float(estimate) - 0.1


def test_a_surface_of_another_colour_has_no_weight() -> None:
    image = grey()
    image[:, :, GRID.width_px // 2 :] = 0.8
    probs = FLAT.clone()
    probs[:, : GRID.cols // 2 - 2] = NEAR
    probs[:, GRID.cols // 2 + 2 :] = FAR
    result = aggregated(probs, image)
    left, right = result.probs[:, 4], result.probs[:, -4]
    assert torch.equal(left.argmax(-1), NEAR.argmax().expand(GRID.rows))
    assert torch.equal(right.argmax(-1), FAR.argmax().expand(GRID.rows))


def test_equal_posteriors_stay() -> None:
    probs = NEAR.expand(GRID.rows, GRID.cols, -1)
    result = aggregated(probs, torch.rand(3, GRID.height_px, GRID.width_px))
    torch.testing.assert_close(result.probs, probs.contiguous())
    expected = DISTRIBUTION.negentropy(NEAR).square().expand(GRID.rows, GRID.cols)
    torch.testing.assert_close(result.negentropy, expected.contiguous())


def test_a_cell_pools_its_own_posterior_with_that_of_its_neighbours() -> None:
    """Near or far, pooled with far or farther, is far."""
    farther = DISTRIBUTION.soft_targets(torch.tensor(0.2))
    probs = (0.5 * FAR + 0.5 * farther).expand(GRID.rows, GRID.cols, -1).clone()
    probs[8, 10] = 0.5 * NEAR + 0.5 * FAR
    result = aggregated(probs, grey(), unary_weight=1.0, smoothing=0.1)
    estimate = DISTRIBUTION.estimate_dpt(result.probs)
    assert abs(float(estimate[8, 10]) - 0.4) < 0.05
    assert float(result.probs[8, 10, NEAR.argmax()]) < 0.1 * float(probs[8, 10, NEAR.argmax()])


def test_smoothing_lets_a_cell_keep_a_distance_that_no_neighbour_has() -> None:
    probs = FAR.expand(GRID.rows, GRID.cols, -1).clone()
    probs[8, 10] = 0.9 * NEAR + 0.1 * FAR
    plain, smoothed = (
        aggregated(probs, grey(), unary_weight=1.0, smoothing=share).probs[8, 10, NEAR > 1e-3].sum()
        for share in (0.0, 0.5)
    )
    assert float(plain) < 0.1 < float(smoothed)


def test_mirrored_photos_have_mirrored_targets() -> None:
    generator = torch.Generator().manual_seed(0)
    image = torch.rand(3, GRID.height_px, GRID.width_px, generator=generator)
    shape = (GRID.rows - 1, GRID.cols - 1, DISTRIBUTION.bins)  # even, as blocks of two cells are
    grid = PatchGrid(GRID.height_px - 4, GRID.width_px - 4, GRID.patch_px, GRID.stride_px)
    image = image[:, :-4, :-4]
    probs = torch.softmax(3 * torch.randn(shape, generator=generator), dim=-1)
    params = AggregationParams()
    straight = cross_bilateral_aggregate(probs, image, grid, DISTRIBUTION, params)
    turned = cross_bilateral_aggregate(
        probs.flip(0, 1), image.flip(1, 2), grid, DISTRIBUTION, params
    )
    torch.testing.assert_close(turned.probs.flip(0, 1), straight.probs)


CELLS = GRID.margin_cells
INNER = slice(CELLS, -CELLS)


def test_without_aggregation_targets_are_posteriors_and_uniform_in_the_margin() -> None:
    packed = DISTRIBUTION.pack(torch.softmax(torch.randn(GRID.rows, GRID.cols, 48), dim=-1))
    distillation_targets = DistillationTargets(lambda _: packed, DISTRIBUTION, None)
    targets, negentropy = distillation_targets("a", grey, GRID)
    edges = GRID.to_edges()
    assert targets.shape[:2] == negentropy.shape == (edges.rows, edges.cols)
    assert torch.equal(targets[INNER, INNER], packed)
    expected = DISTRIBUTION.negentropy(DISTRIBUTION.unpack(packed))
    torch.testing.assert_close(negentropy[INNER, INNER], expected)
    negentropy[INNER, INNER] = 0
    assert float(negentropy.abs().max()) < MIN_NEGENTROPY


@pytest.mark.parametrize("margin_only", [True, False])
def test_the_margin_takes_the_posteriors_of_neighbours_of_similar_colour(margin_only: bool) -> None:
    image = grey()
    image[:, :, -12:] = 0.9
    packed = DISTRIBUTION.pack(NEAR.expand(GRID.rows, GRID.cols, -1).contiguous())
    distillation_targets = DistillationTargets(
        lambda _: packed, DISTRIBUTION, AggregationParams(margin_only=margin_only)
    )
    targets, negentropy = distillation_targets("a", lambda: image, GRID)
    assert torch.equal(targets[INNER, INNER], packed) == margin_only
    probs = DISTRIBUTION.unpack(targets)
    assert bool((probs[:, :-6].argmax(-1) == NEAR.argmax()).all())
    assert float(DISTRIBUTION.negentropy(probs[:, :-6]).min()) > 0.3
    assert float(negentropy[:, :-6].min()) > MIN_NEGENTROPY > float(negentropy[:, -1].max())
