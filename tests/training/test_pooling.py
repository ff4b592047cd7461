"""Pooling: neighbours of like colour have their say, in proportion to what they know."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from rangefinder.config import PoolingParams, PredictionParams
from rangefinder.location import PatchGrid
from rangefinder.models.prediction import Prediction
from rangefinder.training.modules import LEAST_CONFIDENCE
from rangefinder.training.pooling import Lessons, Pooled, pool

PREDICTION = Prediction(PredictionParams())
GRID = PatchGrid(height_px=105, width_px=121, patch_px=41, stride_px=4)
FLAT = torch.full((GRID.rows, GRID.cols, PREDICTION.bins), 1 / PREDICTION.bins)
NEAR, FAR = (PREDICTION.soft_targets(torch.tensor(dpt)) for dpt in (1.2, 0.4))


NEIGHBOURS_ALONE = {"own_power": 0.0, "open_share": 0.0}


def pooled(probs: Tensor, image: Tensor, **changes: float) -> Pooled:
    params = PoolingParams.model_validate(NEIGHBOURS_ALONE | changes)
    return pool(probs, image, GRID, PREDICTION, params)


def grey() -> Tensor:
    return torch.full((3, GRID.height_px, GRID.width_px), 0.2)


def test_a_cell_that_knows_nothing_learns_from_one_that_knows() -> None:
    probs = FLAT.clone()
    probs[8, 10] = NEAR
    result = pooled(probs, grey())
    assert result.probs[4, 6].argmax() == NEAR.argmax()
    assert 0 < result.confidence[4, 6] < 1


def test_the_surer_neighbour_has_more_say() -> None:
    probs = (0.9 * FLAT + 0.1 * FAR).clone()
    probs[8, 10] = NEAR
    result = pooled(probs, grey())
    estimate = PREDICTION.estimate_dpt(result.probs[8, 10])
    assert abs(float(estimate) - 1.2) < 0.1
    even = pooled(probs, grey(), confidence_power=0.0)
    assert float(PREDICTION.estimate_dpt(even.probs[8, 10])) < float(estimate) - 0.1


def test_a_surface_of_another_colour_has_no_say() -> None:
    image = grey()
    image[:, :, GRID.width_px // 2 :] = 0.8
    probs = FLAT.clone()
    probs[:, : GRID.cols // 2 - 2] = NEAR
    probs[:, GRID.cols // 2 + 2 :] = FAR
    result = pooled(probs, image)
    left, right = result.probs[:, 4], result.probs[:, -4]
    assert torch.equal(left.argmax(-1), NEAR.argmax().expand(GRID.rows))
    assert torch.equal(right.argmax(-1), FAR.argmax().expand(GRID.rows))


def test_equal_answers_stay_what_they_are() -> None:
    probs = NEAR.expand(GRID.rows, GRID.cols, -1)
    result = pooled(probs, torch.rand(3, GRID.height_px, GRID.width_px))
    torch.testing.assert_close(result.probs, probs.contiguous())
    information = PREDICTION.information(NEAR).square().expand(GRID.rows, GRID.cols)
    torch.testing.assert_close(result.confidence, information.contiguous())


def test_a_cell_weighs_its_own_answer_against_its_neighbours() -> None:
    """What neither rules out wins: own (near or far) and theirs (far or farther) is far."""
    farther = PREDICTION.soft_targets(torch.tensor(0.2))
    probs = (0.5 * FAR + 0.5 * farther).expand(GRID.rows, GRID.cols, -1).clone()
    probs[8, 10] = 0.5 * NEAR + 0.5 * FAR
    result = pooled(probs, grey(), own_power=1.0, open_share=0.1)
    estimate = PREDICTION.estimate_dpt(result.probs)
    assert abs(float(estimate[8, 10]) - 0.4) < 0.05
    assert float(result.probs[8, 10, NEAR.argmax()]) < 0.1 * float(probs[8, 10, NEAR.argmax()])


def test_an_open_share_lets_a_cell_disagree_with_all_others() -> None:
    probs = FAR.expand(GRID.rows, GRID.cols, -1).clone()
    probs[8, 10] = 0.9 * NEAR + 0.1 * FAR
    closed, opened = (
        pooled(probs, grey(), own_power=1.0, open_share=share).probs[8, 10, NEAR > 1e-3].sum()
        for share in (0.0, 0.5)
    )
    assert float(closed) < 0.1 < float(opened)


def test_mirrored_photos_have_mirrored_lessons() -> None:
    generator = torch.Generator().manual_seed(0)
    image = torch.rand(3, GRID.height_px, GRID.width_px, generator=generator)
    shape = (GRID.rows - 1, GRID.cols - 1, PREDICTION.bins)  # even, as blocks of two cells are
    grid = PatchGrid(GRID.height_px - 4, GRID.width_px - 4, GRID.patch_px, GRID.stride_px)
    image = image[:, :-4, :-4]
    probs = torch.softmax(3 * torch.randn(shape, generator=generator), dim=-1)
    params = PoolingParams()
    straight = pool(probs, image, grid, PREDICTION, params)
    turned = pool(probs.flip(0, 1), image.flip(1, 2), grid, PREDICTION, params)
    torch.testing.assert_close(turned.probs.flip(0, 1), straight.probs)


CELLS = GRID.margin_cells
INNER = slice(CELLS, -CELLS)


def test_lessons_without_pooling_are_the_teachers_own_and_end_where_its_patches_do() -> None:
    packed = PREDICTION.pack(torch.softmax(torch.randn(GRID.rows, GRID.cols, 48), dim=-1))
    lessons = Lessons(lambda _: packed, PREDICTION, None)
    targets, confidence = lessons("a", grey, GRID)
    edges = GRID.to_edges()
    assert targets.shape[:2] == confidence.shape == (edges.rows, edges.cols)
    assert torch.equal(targets[INNER, INNER], packed)
    information = PREDICTION.information(PREDICTION.unpack(packed))
    torch.testing.assert_close(confidence[INNER, INNER], information)
    confidence[INNER, INNER] = 0
    assert float(confidence.abs().max()) < LEAST_CONFIDENCE


@pytest.mark.parametrize("edges_only", [True, False])
def test_where_no_whole_patch_fits_neighbours_of_like_colour_tell(edges_only: bool) -> None:
    image = grey()
    image[:, :, -12:] = 0.9
    packed = PREDICTION.pack(NEAR.expand(GRID.rows, GRID.cols, -1).contiguous())
    lessons = Lessons(lambda _: packed, PREDICTION, PoolingParams(edges_only=edges_only))
    targets, confidence = lessons("a", lambda: image, GRID)
    assert torch.equal(targets[INNER, INNER], packed) == edges_only
    probs = PREDICTION.unpack(targets)
    assert bool((probs[:, :-6].argmax(-1) == NEAR.argmax()).all())
    assert float(PREDICTION.information(probs[:, :-6]).min()) > 0.3
    assert float(confidence[:, :-6].min()) > LEAST_CONFIDENCE > float(confidence[:, -1].max())
