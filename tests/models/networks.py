"""Small networks whose weights differ from their initial values."""

import torch

from rangefinder.camera import Camera
from rangefinder.config import StudentParams, TeacherParams
from rangefinder.coordinates import PatchGrid, grid_location
from rangefinder.models.student import Student
from rangefinder.models.teacher import Teacher

CAMERA = Camera(width_px=96, height_px=72)
BINS = 12
TEACHER = TeacherParams(stem_channels=(8, 12), channels=16, blocks=2, stem_blocks=1)


def scramble(network):
    """Weights and normalisation as after some training, so that nothing is zero by default."""
    generator = torch.Generator().manual_seed(1)
    for tensor in network.state_dict().values():
        if tensor.dtype.is_floating_point:
            tensor += 0.1 * torch.rand(tensor.shape, generator=generator) - 0.05
    return network.eval()


def small_teacher(**changes):
    return scramble(Teacher(TEACHER.model_copy(update=changes), BINS))


def small_student(teacher=TEACHER, **changes):
    return scramble(Student(StudentParams(channels=(8, 8, 8), **changes), teacher, BINS))


@torch.inference_mode()
def teacher_on(teacher, image, placement):
    """Logits `[bins, rows, cols]` of a dense pass over a photo at a placement."""
    grid = PatchGrid(*image.shape[1:], teacher.patch_px, teacher.stride_px)
    location = torch.from_numpy(grid_location(CAMERA, placement, grid))
    return teacher(image[None], location[None])[0]
