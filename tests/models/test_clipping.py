"""Overexposed cells say nothing, all others what they said."""

import pytest
import torch

from rangefinder.config import StudentParams, TeacherParams
from rangefinder.models.clipping import silent_where_clipped
from rangefinder.models.student import Student


@pytest.mark.parametrize("size", [(61, 64), (62, 63), (40, 5)])
def test_only_cells_around_which_most_is_clipped_say_nothing(size):
    cells = tuple(-(-side // 4) for side in size)
    logits, image = torch.randn(1, 6, *cells), torch.full((1, 3, *size), 0.5)
    image[:, 1, :20] = 1.0  # one colour is enough
    image[:, :, 30, 3] = 1.0  # a glint is not
    found = silent_where_clipped(logits, image, 4).softmax(1)
    said = logits.softmax(1)
    torch.testing.assert_close(found[:, :, :5], torch.full_like(said[:, :, :5], 1 / 6))
    torch.testing.assert_close(found[:, :, 5:], said[:, :, 5:])


@pytest.mark.parametrize("agreement_sd", [None, 0.1])
def test_a_student_knows_nothing_of_a_white_photo(agreement_sd):
    teacher = TeacherParams(stem_channels=(4, 8), channels=8, filters=4, mixed=8)
    params = StudentParams(channels=(8, 12, 16), agreement_sd=agreement_sd)
    student = Student(params, teacher, 10).eval()
    location = torch.zeros(1, 2, 72, 96)
    white = student(torch.ones(1, 3, 72, 96), location).softmax(1)
    torch.testing.assert_close(white, torch.full_like(white, 0.1))
    grey = student(torch.rand(1, 3, 72, 96) / 2, location).softmax(1)
    assert (grey.amax(1) > 0.11).float().mean() > 0.5
