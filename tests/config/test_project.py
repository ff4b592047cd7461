"""The project as commands see it: places as in the catalog, configuration as Kedro reads it."""

from __future__ import annotations

import re
import shutil

import pytest
import yaml
from kedro.config import OmegaConfigLoader

from rangefinder.config import AdaptationParams, parse_parameters, parse_tracking
from rangefinder.config.project import STUDENT_NAME, TEACHER_NAME, Project
from rangefinder.errors import ConfigError
from rangefinder.settings import CONFIG_LOADER_ARGS

from ..conftest import ROOT

ENVIRONMENTS = sorted(path.parent.name for path in ROOT.glob("conf/*/parameters.yml"))


def catalog(name):
    content = yaml.safe_load((ROOT / "conf/base/catalog.yml").read_text())
    path = re.sub(r"\$\{(\w+)\}", lambda found: content[found[1]], content[name]["filepath"])
    return ROOT / path


def test_the_project_has_the_paths_of_the_catalog():
    project = Project.find(ROOT / "src/rangefinder")
    assert project.root == ROOT
    assert project.captures == catalog("captures")
    assert project.teacher == catalog("teacher")
    assert project.cache == catalog("teacher_cache_folder")
    assert project.adaptation_checkpoints.parent == catalog("student_checkpoints").parent
    content = yaml.safe_load((ROOT / "conf/base/catalog.yml").read_text())
    for dataset, name in (("student", STUDENT_NAME), ("teacher", TEACHER_NAME)):
        assert content[dataset]["metadata"]["mlflow"]["model"] == name
    assert project.promotion_report == catalog("promotion")


@pytest.mark.parametrize("env", ENVIRONMENTS)
def test_the_project_merges_configuration_as_kedro_does(env):
    loader = OmegaConfigLoader(str(ROOT / "conf"), env=env, **CONFIG_LOADER_ARGS)
    project = Project(ROOT, env)
    assert project.parameters() == parse_parameters(loader["parameters"])
    assert project.tracking() == parse_tracking(loader["tracking"])


def test_a_missing_project_or_configuration_is_named():
    assert Project(ROOT, "base").adaptation_params() == AdaptationParams()
    with pytest.raises(ConfigError, match="no configuration"):
        Project(ROOT, "nothing").parameters()
    with pytest.raises(ConfigError, match="lies in no Rangefinder project"):
        Project.find(ROOT.parent)


def test_configuration_alone_makes_a_project_where_the_package_is_installed(tmp_path):
    shutil.copytree(ROOT / "conf/base", tmp_path / "conf/base")
    assert Project.find(tmp_path).root == tmp_path
    (tmp_path / "pyproject.toml").write_text("[tool.kedro]\npackage_name = 'other'\n")
    with pytest.raises(ConfigError, match="lies in no Rangefinder project"):
        Project.find(tmp_path)
