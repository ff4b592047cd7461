"""`rangefinder init`: a valid configuration that holds what differs from the defaults."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import yaml

from rangefinder.config.project import Project

from ..conftest import ROOT
from .conftest import CAMERA, call


def test_init_writes_what_differs_from_the_base_configuration_and_names_the_next_command(captures):
    done = call("init", "mycamera", "--from", "mine/captures.csv")
    assert done.exit_code == 0, done.output
    assert "--env mycamera" in done.output
    raw = yaml.safe_load(Path("conf/mycamera/parameters.yml").read_text())
    assert "teacher" not in raw
    assert raw["camera"].keys() == {*CAMERA, "name", "lens"}
    params = Project(Path(), "mycamera").parameters()
    assert params.captures.tables == ("mine/captures.csv",)
    assert params.camera.lens.kind == "thin"
    assert params.range.working_m == (0.8, 4.5)
    again = call("init", "mycamera", "--from", "mine/captures.csv")
    assert again.exit_code == 2
    assert "exists" in again.output


@pytest.mark.parametrize("name", ["base", "local", "smoke", "long", "full", "onera", "rgbd"])
def test_init_never_replaces_a_configuration_of_the_project(captures, name):
    shutil.copytree(ROOT / "conf" / name, Path("conf") / name, dirs_exist_ok=True)
    before = {path: path.read_bytes() for path in Path("conf").rglob("*") if path.is_file()}
    done = call("init", name, "--from", "mine/captures.csv", "--force")
    assert done.exit_code == 2
    assert "cannot have this name" in done.output or "was not made by" in done.output
    assert {path: path.read_bytes() for path in Path("conf").rglob("*") if path.is_file()} == before


def test_init_replaces_what_it_wrote_with_force(captures):
    assert call("init", "mycamera", "--camera", "mine/camera.yml").exit_code == 0
    assert call("init", "mycamera", "--from", "mine/captures.csv", "--force").exit_code == 0
    assert "mine/captures.csv" in Path("conf/mycamera/parameters.yml").read_text()


def test_init_without_a_camera_record_names_its_entries(captures):
    (captures / "camera.yml").unlink()
    done = call("init", "mycamera", "--from", "mine")
    assert done.exit_code == 2
    assert "focal_length_mm" in done.output
    assert not Path("conf/mycamera").exists()
