"""Large photos in tiles with halo: the cells of the whole photo, whatever the tiles."""

import pytest
import torch

from rangefinder.config import StudentParams, TeacherParams
from rangefinder.coordinates import Placement
from rangefinder.inference import predictor, tiles
from rangefinder.inference.interface import DISTANCE_ONLY
from rangefinder.inference.predictor import Predictor
from rangefinder.inference.tiles import cells_by_tiles
from rangefinder.models.student import Student

from ..tiny_camera import make_model

SIDE_PX = 2 * Student.reach_px + 64


def random_student():
    """Every parameter counts: layers that start at zero do not."""
    torch.manual_seed(0)
    teacher = TeacherParams(stem_channels=(4, 8), channels=8, filters=4, projection_channels=8)
    student = Student(StudentParams(channels=(8, 12, 16)), teacher, 10).eval()
    for parameter in student.parameters():
        if parameter.std() == 0:
            torch.nn.init.normal_(parameter, std=0.2)
    return student


@pytest.mark.parametrize("size", [(401, 339), (160, 700), (515, 321)])
@torch.inference_mode()
def test_cells_of_tiles_are_those_of_the_whole_photo(size):
    student, image = random_student(), torch.rand(1, 3, *size)
    location = torch.randn(1, 2, 1, 1) * torch.rand(1, 2, *size)
    whole, count = student.cells(image, location), []

    def predict(tile):
        count.append(tile)
        return student.cells(*(x[:, :, *tile.pixels] for x in (image, location)))

    for expected, found in zip(whole, cells_by_tiles(predict, size, SIDE_PX), strict=True):
        assert len(count) > 1
        assert expected.std() > 0
        torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-4)


@torch.inference_mode()
def test_no_halo_is_wider_than_cells_need():
    """A cell depends on pixels that are nearly as far as the halo."""
    student, size = random_student(), (2 * Student.reach_px + 64, 40)
    image, location = torch.rand(1, 3, *size), torch.zeros(1, 2, *size)
    before = student.cells(image, location).weighted
    image[:, :, : Student.coarsest_px] = torch.rand(1, 3, Student.coarsest_px, 40)
    changed = (student.cells(image, location).weighted != before).flatten(2).any(2)[0]
    assert changed.nonzero().max() * 4 > Student.reach_px - Student.coarsest_px


def test_a_photo_in_tiles_has_the_distances_of_the_whole(monkeypatch):
    predict, image = Predictor(make_model("student"), "cpu", exact=True), torch.rand(3, 330, 420)
    place = Placement((7.0, 3.0))
    whole = predict(image, place, DISTANCE_ONLY).distance_m
    monkeypatch.setattr(
        predictor, "cells_by_tiles", lambda *options: cells_by_tiles(*options, SIDE_PX)
    )
    assert len(list(tiles.tiles((330, 420), SIDE_PX))) > 1
    torch.testing.assert_close(
        torch.from_numpy(predict(image, place, DISTANCE_ONLY).distance_m),
        torch.from_numpy(whole),
        rtol=1e-4,
        atol=0,
    )
