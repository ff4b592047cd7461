"""Small captures, and a teacher and a cache trained and filled on them once."""

import pytest

from rangefinder.cache.fill import fill_cache
from rangefinder.training.assembly import train_teacher

from ..small_training import PARAMS, make_captures


@pytest.fixture(scope="session")
def captures(tmp_path_factory):
    return make_captures(tmp_path_factory.mktemp("set"), labelled=3)


@pytest.fixture(scope="session")
def params():
    return PARAMS


@pytest.fixture(scope="session")
def teacher(captures, params, tmp_path_factory):
    return train_teacher(captures, params, tmp_path_factory.mktemp("ckpt") / "teacher", None)


@pytest.fixture(scope="session")
def cache(teacher, captures, params, tmp_path_factory):
    return fill_cache(teacher, captures, params.cache, tmp_path_factory.mktemp("cache") / "cache")
