"""Small captures, and parameters of short trainings."""

import pytest

from ..small_training import PARAMS, make_captures


@pytest.fixture(scope="session")
def captures(tmp_path_factory):
    return make_captures(tmp_path_factory.mktemp("set"), labelled=3)


@pytest.fixture(scope="session")
def params():
    return PARAMS
