"""The teacher: exactly dense, and conditioned on location."""

import pytest
import torch

from rangefinder.coordinates import PatchGrid, Placement

from .networks import BINS, small_student, small_teacher, teacher_on


def test_a_patch_gives_one_prediction_and_a_dense_pass_one_per_grid_cell():
    teacher = small_teacher()
    size = teacher.patch_px
    assert teacher_on(teacher, torch.rand(3, size, size), Placement()).shape == (BINS, 1, 1)
    grid = PatchGrid(72, 96, size, teacher.stride_px)
    logits = teacher_on(teacher, torch.rand(3, 72, 96), Placement())
    assert logits.shape == (BINS, grid.rows, grid.cols)


@pytest.mark.parametrize(("left", "top"), [(0, 0), (8, 4), (20, 16)])
def test_predictions_on_a_crop_are_those_on_the_whole_image(left, top):
    teacher, image = small_teacher(), torch.rand(3, 72, 96)
    whole = teacher_on(teacher, image, Placement())
    crop = teacher_on(
        teacher, image[:, top : top + 40, left : left + 44], Placement().crop(left, top)
    )
    rows, cols = crop.shape[1:]
    part = whole[:, top // 4 : top // 4 + rows, left // 4 : left // 4 + cols]
    torch.testing.assert_close(crop, part, atol=1e-5, rtol=0)


def test_nothing_outside_a_patch_changes_its_prediction():
    teacher, image = small_teacher(), torch.rand(3, 72, 96)
    changed = image.clone()
    changed[:, :, teacher.patch_px :] = 0.9
    before, after = (teacher_on(teacher, x, Placement()) for x in (image, changed))
    torch.testing.assert_close(before[:, 0, 0], after[:, 0, 0], atol=1e-6, rtol=0)
    assert (before[:, 0, 1] - after[:, 0, 1]).abs().max() > 1e-3


def test_location_changes_the_prediction_unless_switched_off():
    image = torch.rand(3, 72, 96)
    for location, differs in ((True, True), (False, False)):
        teacher = small_teacher(location=location)
        here = teacher_on(teacher, image, Placement())
        there = teacher_on(teacher, image, Placement((50.0, 20.0)))
        assert bool((here - there).abs().max() > 1e-3) is differs


@pytest.mark.parametrize("filters", [0, 3])
def test_the_filter_bank_is_optional_in_both_networks(filters):
    teacher = small_teacher(filters=filters)
    student = small_student(teacher.params)
    for network in (teacher, student):
        names = [name for name, _ in network.named_modules()]
        assert ("stem.filters" in names) is bool(filters)
    image, location = torch.rand(1, 3, 72, 96), torch.rand(1, 2, 72, 96)
    whole = teacher_on(teacher, image[0], Placement())
    size = teacher.patch_px
    patch = teacher_on(teacher, image[0, :, :size, :size], Placement())
    torch.testing.assert_close(patch[:, 0, 0], whole[:, 0, 0], atol=1e-5, rtol=0)
    with torch.inference_mode():
        assert student(image, location).shape == (1, BINS, 18, 24)
