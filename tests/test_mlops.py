"""The demonstration of docs/mlops.md, and what a failed evaluation leaves."""

from __future__ import annotations

import re
import shutil

import pytest
from mlflow import MlflowClient

from rangefinder.config.project import STUDENT_NAME

from .conftest import ROOT, Project, copy_project
from .notebook import run_notebook

TEXT = (ROOT / "docs/mlops.md").read_text(encoding="utf-8")
RUN = "from rangefinder.commands import main; main(prog_name='rangefinder')"


def steps():
    """Command, and exit code, of every line of the demonstration."""
    (block,) = re.findall(r"## A demonstration\n.*?```sh\n(.*?)```", TEXT, re.DOTALL)
    for line in block.splitlines():
        command, _, comment = line.partition("#")
        stated = re.search(r"exit code (\d)", comment)
        yield command.split(), int(stated[1]) if stated else 0


def follow(project: Project, words: list[str]):
    program = ["python", "-c", RUN] if words[0] == "rangefinder" else words[:1]
    return project.run(*program, *words[1:], check=False)


def champion(client):
    return str(client.get_model_version_by_alias(STUDENT_NAME, "champion").version)


@pytest.mark.slow
def test_the_demonstration_goes_as_documented(tmp_path):
    project = copy_project(tmp_path / "project")
    said = {}
    for words, code in steps():
        done = follow(project, words)
        assert done.returncode == code, f"{words}\n{done.stdout}{done.stderr}"
        said[" ".join(words)] = done.stdout
    client = MlflowClient(project.store)
    outcomes = [
        client.get_model_version(STUDENT_NAME, number).tags["promotion"] for number in "123"
    ]
    assert outcomes == ["promoted", "refused", "rolled back"]
    assert champion(client) == "1"
    promote = "rangefinder promote --env smoke"
    assert "Refused; broken: better than the" in said[f"{promote} --version 2"]
    assert "Nothing was changed or recorded." in said[f"{promote} --version 3 --dry-run"]
    walked = said["rangefinder lineage models:/rangefinder-student@champion --env smoke"]
    for what in ("student", "cache", "teacher", "captures", "camera", "lens", "commit"):
        assert re.search(rf"^{what} +\w", walked, re.MULTILINE)
    compared = run_notebook(project, "02_compare_runs.ipynb")
    assert "student.max_epochs" in compared.html
    assert all(outcome in compared.html for outcome in outcomes)
    _check_failed_evaluation(project, client)


def _check_failed_evaluation(project: Project, client: MlflowClient) -> None:
    """A student whose evaluation fails is registered, and is no candidate."""
    before = client.get_registered_model(STUDENT_NAME).aliases
    shutil.rmtree(project.folder / "data/02_intermediate/psf_banks")
    (project.folder / "data/02_intermediate/psf_banks").touch()  # no folder: the bound needs it
    command = "kedro run --env smoke --pipelines student_distillation,evaluation"
    assert follow(project, command.split()).returncode != 0
    version = client.get_model_version(STUDENT_NAME, "4")
    assert version.tags["evaluation"] == "unevaluated"
    assert client.get_run(version.run_id).info.status == "FAILED"
    assert client.get_registered_model(STUDENT_NAME).aliases == before
