"""The pipeline `drift`: photos of a folder are judged, and the judgement is recorded."""

from __future__ import annotations

import json

import pytest

from rangefinder.inference.drift_terms import LEAST_REFERENCE

from ..conftest import Project

REPORTS = "data/08_reporting"
PHOTOS = "data/02_intermediate/captures/images"


@pytest.mark.slow
def test_photos_are_judged_and_the_judgement_is_recorded(project: Project):
    from mlflow import MlflowClient

    held_out = f"captures.validation={LEAST_REFERENCE}"
    project.run("kedro", "run", "--env", "smoke", "--params", held_out)
    card = json.loads((project.folder / "data/06_models/student/card.json").read_text())
    assert card["drift"]["estimates"]["blue_blur.level"]["photos"] == LEAST_REFERENCE
    unnamed = project.run("kedro", "run", "--pipelines", "drift", "--env", "smoke", check=False)
    assert unnamed.returncode != 0
    assert "drift.photos=FOLDER" in unnamed.stdout + unnamed.stderr
    photos = ("--params", f"drift.photos={PHOTOS}")
    project.run("kedro", "run", "--pipelines", "drift", "--env", "smoke", *photos)
    content = json.loads((project.folder / REPORTS / "drift.json").read_text())
    assert content["photos"] == len(list((project.folder / PHOTOS).iterdir()))
    assert content["verdict"] in (project.folder / REPORTS / "drift.html").read_text()
    query = "attributes.run_name LIKE 'drift %' AND attributes.status = 'FINISHED'"
    (run,) = MlflowClient(project.store).search_runs(["1"], query)
    assert run.data.metrics["drift"] == float(content["drift"])
    assert run.data.metrics["z/blue_blur.level"] == content["metrics"]["z/blue_blur.level"]
