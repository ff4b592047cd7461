"""Captures and parameters for trainings of a few seconds."""

import zlib

import torch

from rangefinder.camera import Camera
from rangefinder.captures.manifest import Capture, write_captures
from rangefinder.config import Parameters
from rangefinder.training.assembly import Distillation

PARAMS = Parameters.model_validate(
    {
        "teacher": {
            "stem_channels": [6, 8],
            "channels": 12,
            "blocks": 2,
            "stem_blocks": 1,
            "crop_px": 33,
            "batch_size": 4,
            "steps_per_epoch": 6,
            "max_epochs": 2,
        },
        "student": {"channels": [8, 8, 8], "batch_size": 2, "max_epochs": 2},
        "compute": {"threads": 1, "device": "cpu"},
    }
)


def make_capture(role, split, index):
    """Noise whose contrast decreases with its distance."""
    generator = torch.Generator().manual_seed(zlib.crc32(f"{role} {split} {index}".encode()))
    distance_m = 0.8 + 0.4 * (index % 6)
    image = 0.5 + (torch.rand(3, 48, 64, generator=generator) - 0.5) / (1 + distance_m)
    frame = torch.full((48, 64), distance_m)
    return Capture(
        image=image,
        role=role,
        scene=f"{split}-{role}-{index}",
        split=split,
        distance_m=distance_m if role == "chart" else None,
        distance_map=None if role == "chart" else frame,
    )


def make_captures(folder, **validation):
    """Charts and photos of the training split, and so many validation captures of each role."""
    counts = [("chart", "train", 12), ("unlabelled", "train", 6)]
    counts += [(role, "validation", number) for role, number in validation.items()]
    captures = (make_capture(role, split, i) for role, split, n in counts for i in range(n))
    return write_captures(folder / "captures", Camera(width_px=64, height_px=48), captures)


def student_of(captures, teacher, cache, params, folder, **changes):
    """A student with other options."""
    student = params.student.model_copy(update=changes)
    params = params.model_copy(update={"student": student})
    return Distillation(captures, teacher, cache, params, folder / "student").distil()


def same_weights(one, other):
    """Whether two models have equal weights."""
    a, b = one.network.state_dict(), other.network.state_dict()
    return all(torch.equal(a[name], b[name]) for name in a)
