"""The project as commands see it: places as in the catalog, configuration as Kedro reads it."""

from __future__ import annotations

import pytest
import yaml

from rangefinder.config import AdaptationParams
from rangefinder.config.project import STUDENT_NAME, Project
from rangefinder.errors import ConfigError

from ..conftest import ROOT


def catalog(name):
    return ROOT / yaml.safe_load((ROOT / "conf/base/catalog.yml").read_text())[name]["filepath"]


def test_the_project_has_the_paths_of_the_catalog():
    project = Project.find(ROOT / "src/rangefinder")
    assert project.root == ROOT
    assert project.captures == catalog("captures")
    assert project.teacher == catalog("teacher")
    assert project.student == catalog("student")
    metadata = yaml.safe_load((ROOT / "conf/base/catalog.yml").read_text())["student"]["metadata"]
    assert metadata["mlflow"]["model"] == STUDENT_NAME


def test_the_project_merges_configuration_as_kedro_does():
    smoke = Project(ROOT, "smoke").parameters()
    assert (smoke.camera.width_px, smoke.camera.focal_length_mm) == (120, 50.0)
    assert Project(ROOT, "base").adaptation_params() == AdaptationParams()
    with pytest.raises(ConfigError, match="no configuration"):
        Project(ROOT, "nothing").parameters()
    with pytest.raises(ConfigError, match="lies in no Rangefinder project"):
        Project.find(ROOT.parent)
