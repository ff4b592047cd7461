"""The student: its lattice, its start from the teacher, boundaries and aggregation."""

import pytest
import torch

from rangefinder.config import StudentParams, TeacherParams
from rangefinder.coordinates import Placement, location_map
from rangefinder.models.aggregation import Cells, aggregate, cell_log_light, weighted_posteriors
from rangefinder.models.student import Student, full_frame
from rangefinder.models.teacher import Teacher

from .networks import BINS, CAMERA, TEACHER, small_student


@pytest.mark.parametrize(("height", "width"), [(72, 96), (73, 97), (70, 94), (33, 65)])
def test_the_student_predicts_on_its_lattice_whatever_the_size(height, width):
    student = small_student()
    location = torch.from_numpy(location_map(CAMERA, Placement(), height, width))[None]
    with torch.inference_mode():
        logits = student(torch.rand(1, 3, height, width), location)
        assert logits.shape[2:] == (-(-height // 4), -(-width // 4))
        assert full_frame(logits[0], height, width).shape == (BINS, height, width)


def test_a_student_is_initialised_from_its_teacher():
    params = TeacherParams(
        stem_channels=(6, 8), channels=12, blocks=2, filters=4, projection_channels=16
    )
    teacher = Teacher(params, 10)
    student = Student(StudentParams(channels=(8, 12, 16)), params, 10)
    student.initialise_from(teacher)
    image = torch.rand(1, 3, 40, 48)
    torch.testing.assert_close(student.stem(image).features, teacher.stem(image).features)
    strongest = teacher.projection.conv.conv.weight[:, -24:].abs().sum((1, 2, 3)).max()
    for level in student.levels:
        found = level.moment_pooling.projection.conv.conv.weight.abs().sum((1, 2, 3))
        torch.testing.assert_close(found[0], strongest)


def test_an_untrained_student_has_no_boundaries_and_one_without_scenes_no_boundary_network():
    image, location = torch.rand(2, 3, 72, 96), torch.zeros(2, 2, 72, 96)
    untrained = Student(StudentParams(channels=(8, 8, 8)), TEACHER, BINS)
    boundaries = untrained.boundary_logits(image)
    assert untrained.cell_logits(image, location).shape[2:] == boundaries.shape[2:]
    assert boundaries.shape[1] == 2
    assert boundaries.sigmoid().max() < 0.01
    assert small_student(composited_scenes=0).boundary_logits(image) is None


@pytest.mark.parametrize("training", [True, False])
def test_a_prediction_is_the_aggregation_of_the_cells_logits(training):
    aggregating = small_student().train(training)
    alone = small_student(aggregation_sd=None).train(training)
    alone.load_state_dict(aggregating.state_dict())
    image, location = torch.rand(2, 3, 72, 96), torch.zeros(2, 2, 72, 96)
    own = alone(image, location).log_softmax(1)
    boundaries = alone.boundary_logits(image).movedim(1, -1)
    weighted = weighted_posteriors(own.movedim(1, -1))
    cells = Cells(weighted, cell_log_light(image, 4), boundaries)
    expected = aggregate(cells, aggregating.params).movedim(-1, 1)
    torch.testing.assert_close(aggregating(image, location).exp(), expected)
    assert not torch.allclose(expected, own.exp(), atol=1e-3)
    cell_logits = aggregating.cell_logits(image, location)
    torch.testing.assert_close(cell_logits.log_softmax(1), own)
