"""Adapting a student of the smoke chain to new photos; the project as commands see it."""

from __future__ import annotations

import json
import shutil

import mlflow
import pandas as pd
import pytest
import yaml

from rangefinder.captures.images import write_linear
from rangefinder.captures.manifest import TABLE_FILE, read_captures
from rangefinder.deploy.project import STUDENT_NAME, Project
from rangefinder.errors import ConfigError
from rangefinder.models.io import load_model
from rangefinder.training.adapt import AdaptationParams

from ..conftest import ROOT, SmokeRun

RUN = (
    "import logging; logging.basicConfig(level='INFO');"
    "from rangefinder.commands.main import main; main(prog_name='rangefinder')"
)


def catalog(name):
    return ROOT / yaml.safe_load((ROOT / "conf/base/catalog.yml").read_text())[name]["filepath"]


def test_project_lies_where_the_catalog_says():
    project = Project.find(ROOT / "src/rangefinder")
    assert project.root == ROOT
    assert project.captures == catalog("captures")
    assert project.teacher == catalog("teacher")
    assert project.student == catalog("student")
    metadata = yaml.safe_load((ROOT / "conf/base/catalog.yml").read_text())["student"]["metadata"]
    assert metadata["mlflow"]["model"] == STUDENT_NAME


def test_project_reads_configuration_as_kedro_does():
    smoke = Project(ROOT, "smoke").parameters()
    assert (smoke.camera.width_px, smoke.camera.focal_length_mm) == (120, 50.0)
    assert Project(ROOT, "base").adaptation_params() == AdaptationParams()
    with pytest.raises(ConfigError, match="no configuration"):
        Project(ROOT, "nothing").parameters()
    with pytest.raises(ConfigError, match="lies in no Rangefinder project"):
        Project.find(ROOT.parent)


@pytest.fixture(scope="module")
def adapted(smoke_run, tmp_path_factory):
    """A copy of the smoke project, adapted to mirrored photos, with what was said."""
    folder = tmp_path_factory.mktemp("adapt") / "project"
    shutil.copytree(smoke_run.folder, folder, ignore=shutil.ignore_patterns("psf_banks"))
    project = SmokeRun(folder, "")
    captures = read_captures(folder / "data/02_intermediate/captures")
    photos = folder / "new"
    photos.mkdir()
    scenes = captures.select(role="unlabelled")
    for index in range(3):
        write_linear(photos / f"photo-{index}.tif", scenes.image(index).flip(2))
    old = captures.select(role="unlabelled").row(0)
    shutil.copy(captures.folder / old["image"], photos / "old.tif")
    (photos / "bad.jpg").write_text("no photo")
    model = ("--model", "data/06_models/student")
    python = ("python", "-c", RUN)
    done = project.run(*python, "adapt", "new", "--env", "smoke", *model)
    again = project.run(*python, "adapt", "new", "--env", "smoke", *model, check=False)
    return project, done, again


def test_adapting_learns_from_new_photos_and_compares(adapted):
    project, done, _ = adapted
    assert "bad.jpg" in done.stderr
    assert "Learned from 3 new photos (1 were known before)." in done.stdout
    assert "3 of 11 photos are to be swept" in done.stderr  # the rest was stored by training
    student = load_model(project.folder / "data/06_models/student")
    new = load_model(project.folder / "data/06_models/adapted")
    assert new.card.camera == student.card.camera
    assert new.card.cache != student.card.cache
    assert new.fingerprint != student.fingerprint
    summary = json.loads((project.folder / "data/08_reporting/adaptation.json").read_text())
    assert list(summary["models"]) == ["current", "adapted"]
    added = read_captures(project.folder / "data/02_intermediate/adaptation")
    assert len(added) == 3
    assert set(added.table["role"]) == {"unlabelled"}


def test_adapted_student_is_the_newest_candidate(adapted):
    project, done, _ = adapted
    client = mlflow.MlflowClient(project.store)
    version = client.get_model_version_by_alias(STUDENT_NAME, "candidate")
    assert f"version {version.version}" in done.stdout
    new = load_model(project.folder / "data/06_models/adapted")
    assert version.tags["fingerprint"] == new.fingerprint
    assert client.get_run(version.run_id).info.status == "FINISHED"


def test_photos_added_before_are_nothing_new(adapted):
    _, _, again = adapted
    assert again.returncode == 2
    assert "no new photo" in again.stderr
    assert "Traceback" not in again.stderr


def test_measuring_without_a_model_takes_the_registry_s_candidate(adapted):
    project, _, _ = adapted
    command = ("python", "-c", RUN, "measure", "new/photo-0.tif", "--json", "--env", "smoke")
    report = json.loads(project.run(*command, "--out", "m").stdout)
    assert report["model"] == load_model(project.folder / "data/06_models/adapted").fingerprint


def test_a_stopped_run_goes_on_and_is_compared_on_charts_where_no_scene_is_labelled(adapted):
    project, _, _ = adapted
    shutil.rmtree(project.folder / "data/06_models/adapted")  # as a kill before the end leaves it
    manifest = project.folder / "data/02_intermediate/captures" / TABLE_FILE
    table = pd.read_parquet(manifest)
    tested = table["role"].eq("labelled") & table["split"].eq("test")
    table.loc[tested, "role"] = "chart"  # charts have maps too, where a mask says what of them is
    table.loc[tested, "distance_m"] = 1.0
    table.to_parquet(manifest)
    model = ("--model", "data/06_models/student")
    done = project.run("python", "-c", RUN, "adapt", "new", "--env", "smoke", *model)
    assert "Learned from photos that were added before" in done.stdout
    assert "Scored on held-out charts" in done.stdout
    assert load_model(project.folder / "data/06_models/adapted").card.kind == "student"
