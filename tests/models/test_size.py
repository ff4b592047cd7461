"""Networks that are too large are refused by their size, before they take memory."""

from __future__ import annotations

import psutil
import pytest
import torch
from torch.nn.utils import parameters_to_vector

from rangefinder.config import Parameters, StudentParams, TeacherParams
from rangefinder.errors import ConfigError
from rangefinder.models.model_files import build_network
from rangefinder.models.size import MOST_BYTES
from rangefinder.models.teacher import Teacher, build_teacher

from ..tiny_camera import make_model

LARGE = TeacherParams(
    stem_channels=(1024, 1024), channels=1024, blocks=12, projection_channels=4096, filters=1024
)


def test_a_network_that_is_too_large_is_refused_with_its_size_and_takes_no_memory():
    make_model("student")  # torch loads what it needs for shapes
    before = psutil.Process().memory_info().rss
    with pytest.raises(ConfigError, match=r"teacher are too large; found 0\.6 GB"):
        build_teacher(LARGE, 512)
    card = make_model("student").card
    wide = StudentParams(channels=(1024, 1024, 1024))
    with pytest.raises(ConfigError, match=r"student are too large; found 0\.4 GB"):
        build_network(card.model_copy(update={"teacher": LARGE, "student": wide}))
    assert psutil.Process().memory_info().rss - before < MOST_BYTES / 4


def test_looking_at_the_size_draws_no_random_number():
    params, drawn = Parameters().teacher, []
    for build in (build_teacher, Teacher):
        torch.manual_seed(3)
        drawn.append(parameters_to_vector(build(params, 8).parameters()))
    assert torch.equal(*drawn)
