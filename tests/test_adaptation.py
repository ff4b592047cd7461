"""Adaptation of the smoke run's student to new photos."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import mlflow
import pandas as pd
import pytest

import rangefinder
from rangefinder.captures.images import write_linear
from rangefinder.captures.manifest import read_captures, write_manifest
from rangefinder.common.files import checksum
from rangefinder.config.project import STUDENT_NAME
from rangefinder.errors import ModelError
from rangefinder.models.model_files import load_model
from rangefinder.tracking.lineage import lineage
from rangefinder.tracking.registry import find_model

from .conftest import SmokeRun

RUN = (
    "import logging; logging.basicConfig(level='INFO');"
    "from rangefinder.commands import main; main(prog_name='rangefinder')"
)


@pytest.fixture(scope="module")
def adapted(smoke_run, tmp_path_factory):
    """A copy of the smoke project, its adaptation to mirrored photos, and a second attempt."""
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


def test_adaptation_trains_on_new_photos_and_compares(adapted):
    project, done, _ = adapted
    assert "bad.jpg" in done.stderr
    assert "Trained on 3 new photos (1 were known before)." in done.stdout
    assert "3 of 11 photos are to be swept" in done.stderr  # the rest was stored by training
    student = load_model(project.folder / "data/06_models/student")
    new = load_model(project.folder / "data/06_models/adapted")
    assert new.card.camera == student.card.camera
    assert new.card.cache != student.card.cache
    assert new.fingerprint != student.fingerprint
    assert new.card.calibration.tilt_power == 0.0  # four validation scenes are too few
    for chatter in ("GPU available", "TPU available", "Tip:"):
        assert chatter not in done.stdout + done.stderr
    summary = json.loads((project.folder / "data/08_reporting/adaptation.json").read_text())
    assert list(summary["models"]) == ["current", "adapted"]
    added = read_captures(project.folder / "data/02_intermediate/adaptation")
    assert len(added) == 3
    assert set(added.table["role"]) == {"unlabelled"}


def test_adapted_student_is_registered_and_goes_through_the_gate(adapted):
    project, done, _ = adapted
    client = mlflow.MlflowClient(project.store)
    version = client.get_model_version(STUDENT_NAME, "2")
    assert "registered as version 2" in done.stdout
    new = load_model(project.folder / "data/06_models/adapted")
    assert version.tags["fingerprint"] == new.fingerprint
    assert client.get_run(version.run_id).info.status == "FINISHED"
    summary = json.loads((project.folder / "data/08_reporting/adaptation.json").read_text())
    current, adapted_to = (
        summary["models"][k]["overall"]["abs_rel"] for k in ("current", "adapted")
    )
    assert "against the student it was made from" in done.stdout
    assert f"{adapted_to / current:.3f} times its AbsRel" in done.stdout
    aliases = client.get_registered_model(STUDENT_NAME).aliases
    assert str(aliases["candidate"]) == "1"  # training for a while longer makes no candidate
    passed = version.tags["promotion"] == "promoted"
    assert passed == ("Promoted:" in done.stdout) == ("champion" in aliases)


def test_lineage_of_the_adapted_student_ends_at_the_photos_that_were_added(adapted):
    project, _, _ = adapted
    client = mlflow.MlflowClient(project.store)
    links = {link.what: link for link in lineage(client, f"models:/{STUDENT_NAME}/2")}
    path = Path(links["captures"].facts["listed in"])
    listed = set(pd.read_csv(path, dtype=str)["capture_id"])
    for name in ("captures", "adaptation"):
        kept = read_captures(project.folder / "data/02_intermediate" / name)
        assert set(kept.table["capture_id"]) <= listed
    assert checksum(path.read_bytes()) == links["captures"].fingerprint
    new = load_model(project.folder / "data/06_models/adapted")
    assert links["cache"].fingerprint == new.card.cache
    assert "rangefinder-teacher/1" in links["teacher"].facts["registered as"]
    assert links["lens"].facts["kind"] == new.card.camera.lens.kind
    assert links["student"].command == (
        "rangefinder adapt new --env smoke --model data/06_models/student"
    )
    student = load_model(project.folder / "data/06_models/student")
    tags = client.get_model_version(STUDENT_NAME, "2").tags
    assert tags["adapted_from"] == student.fingerprint


def test_photos_added_before_are_refused_as_not_new(adapted):
    _, _, again = adapted
    assert again.returncode == 2
    assert "no new photo" in again.stderr
    assert "Traceback" not in again.stderr


def test_measuring_without_a_model_uses_that_of_the_registry(adapted):
    project, _, _ = adapted
    aliases = mlflow.MlflowClient(project.store).get_registered_model(STUDENT_NAME).aliases
    used = "adapted" if "champion" in aliases else "student"
    command = ("python", "-c", RUN, "measure", "new/photo-0.tif", "--json", "--env", "smoke")
    report = json.loads(project.run(*command, "--out", "m").stdout)
    assert report["model"] == load_model(project.folder / f"data/06_models/{used}").fingerprint


@pytest.fixture
def aliases(adapted):
    """The trained student is candidate, the adapted one champion; afterwards as before."""
    project, _, _ = adapted
    client = mlflow.MlflowClient(project.store)
    before = client.get_registered_model(STUDENT_NAME).aliases
    client.set_registered_model_alias(STUDENT_NAME, "candidate", "1")
    client.set_registered_model_alias(STUDENT_NAME, "champion", "2")
    yield client
    if "champion" not in before:
        client.delete_registered_model_alias(STUDENT_NAME, "champion")


def test_a_model_is_found_by_its_name_and_the_champion_comes_first(adapted, aliases, monkeypatch):
    project, _, _ = adapted
    monkeypatch.chdir(project.folder)
    first = load_model(project.folder / "data/06_models/student").fingerprint
    newest = load_model(project.folder / "data/06_models/adapted").fingerprint
    named = rangefinder.load_model(f"models:/{STUDENT_NAME}@candidate", env="smoke")
    assert named.fingerprint == first != newest
    assert find_model(None, "smoke").fingerprint == newest
    aliases.delete_registered_model_alias(STUDENT_NAME, "champion")
    assert find_model(None, "smoke").fingerprint == first
    with pytest.raises(ModelError, match="is not in the registry"):
        find_model("models:/nobody@candidate", "smoke")
    aliases.delete_registered_model_alias(STUDENT_NAME, "candidate")
    with pytest.raises(ModelError, match="no student of an alias"):
        find_model(None, "smoke")
    aliases.set_registered_model_alias(STUDENT_NAME, "candidate", "1")


def test_a_project_that_left_its_artifacts_behind_finds_its_models(
    adapted, aliases, monkeypatch, caplog
):
    project, _, _ = adapted
    monkeypatch.chdir(project.folder)
    models = project.folder / "data/06_models"
    newest = load_model(models / "adapted").fingerprint
    artifacts = project.folder / "mlartifacts"
    away = artifacts.rename(project.folder / "away")
    try:
        assert find_model(None, "smoke").fingerprint == newest
        assert f"using the same model in {models / 'adapted'}" in caplog.text
        first = find_model(f"models:/{STUDENT_NAME}/1", "smoke").fingerprint
        assert first == load_model(models / "student").fingerprint
        (models / "adapted").rename(project.folder / "elsewhere")
        with pytest.raises(ModelError, match="is not in the registry"):
            find_model(None, "smoke")
        (project.folder / "elsewhere").rename(models / "adapted")
    finally:
        away.rename(artifacts)


def test_an_unscored_adaptation_is_made_again_and_is_scored_on_charts_without_labelled_scenes(
    adapted,
):
    project, _, _ = adapted
    shutil.rmtree(project.folder / "data/06_models/adapted")  # as a kill before the end leaves it
    folder = project.folder / "data/02_intermediate/captures"
    table = read_captures(folder).table
    tested = table["role"].eq("labelled") & table["split"].eq("test")
    table.loc[tested, "role"] = "chart"
    table.loc[tested, "distance_m"] = 1.0
    write_manifest(folder, table)
    model = ("--model", "data/06_models/student")
    done = project.run("python", "-c", RUN, "adapt", "new", "--env", "smoke", *model)
    assert "Trained on photos that were added before" in done.stdout
    assert "Scored on held-out charts" in done.stdout
    assert load_model(project.folder / "data/06_models/adapted").card.kind == "student"
