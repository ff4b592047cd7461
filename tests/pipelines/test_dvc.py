"""DVC: stages, their dependencies, and runs that are up to date."""

from __future__ import annotations

import json
import re
import shutil
from io import StringIO
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import yaml

from rangefinder.captures.manifest import read_captures
from rangefinder.common.files import checksum
from rangefinder.pipeline_registry import register_pipelines
from rangefinder.tracking.lineage import lineage

from ..conftest import ROOT, Project, SmokeRun
from .stage_code import stage_code

STAGES = yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"]
CATALOG = yaml.safe_load((ROOT / "conf/base/catalog.yml").read_text())
STUDIES = ("cache_audit", "benchmark", "ablation", "drift")  # no stage depends on their results
CHAIN_END = "report"  # last stage of what is adopted
CHAINS = ("distill", "__default__")
EVERY = register_pipelines()
PIPELINES = {k: v for k, v in EVERY.items() if k not in STUDIES + CHAINS}


def path_of(dataset: str) -> str | None:
    path = CATALOG.get(dataset, {}).get("filepath")
    return re.sub(r"\$\{(\w+)\}", lambda found: CATALOG[found[1]], path) if path else None


def paths_of(datasets: set[str]) -> set[str]:
    return {path for path in map(path_of, datasets) if path}


def bare(entries: list[Any]) -> set[str]:
    return {next(iter(entry)) if isinstance(entry, dict) else entry for entry in entries}


def outs(stage: str) -> set[str]:
    return bare(STAGES[stage].get("outs", []) + STAGES[stage].get("metrics", []))


def params(stage: str) -> dict[str, Any]:
    return {
        file: names for entry in STAGES[stage].get("params", []) for file, names in entry.items()
    }


def checkpoints(paths: set[str]) -> set[str]:
    return {path for path in paths if "/checkpoints/" in path}


def test_there_is_one_stage_per_pipeline():
    assert STAGES.keys() == PIPELINES.keys()
    for name, stage in STAGES.items():
        assert stage["cmd"] == f"kedro run --env ${{env}} --pipelines {name}"


@pytest.mark.parametrize("name", STAGES)
def test_stage_takes_and_leaves_what_the_catalog_says(name):
    pipeline = PIPELINES[name]
    studies = set().union(*(EVERY[study].outputs() for study in STUDIES))
    takes, leaves = paths_of(pipeline.inputs() - studies), paths_of(pipeline.outputs())
    data = {dep for dep in STAGES[name]["deps"] if dep.startswith("data/")}
    kept = takes & outs(name)  # working folder and output at once
    assert data == takes - checkpoints(takes) - kept - leaves
    assert outs(name) == leaves | kept


@pytest.mark.parametrize("name", STAGES)
def test_code_dependencies_are_the_import_closure(name):
    tracked = {dep for dep in STAGES[name]["deps"] if dep.startswith("src/")}
    needed = set(stage_code(list(STAGES), ROOT / "src/rangefinder")[name])
    add, remove = sorted(needed - tracked), sorted(tracked - needed)
    assert (add, remove) == ([], []), f"dvc.yaml, stage {name}: add {add}, remove {remove}"


@pytest.mark.parametrize("name", STAGES)
def test_sections_are_the_inputs_of_the_nodes(name):
    entries = params(name)
    needed = {x.removeprefix("params:") for x in PIPELINES[name].inputs() if "params:" in x}
    tracked = set(entries.pop("conf/base/parameters.yml", ()))
    assert tracked == needed, f"add {needed - tracked}, remove {tracked - needed}"
    assert entries == ({"conf/${env}/parameters.yml": None} if needed else {})  # all it changes


def test_every_section_of_the_parameters_is_tracked_by_some_stage():
    tracked = {s for name in STAGES for s in params(name).get("conf/base/parameters.yml", ())}
    every = yaml.safe_load((ROOT / "conf/base/parameters.yml").read_text()).keys()
    assert tracked == every - {"benchmark", "ablation", "drift"}  # of no stage's result


def test_the_default_environment_changes_nothing():
    assert not yaml.safe_load((ROOT / "conf/default/parameters.yml").read_text())


@pytest.mark.parametrize("name", STAGES)
def test_outputs_stay_until_a_stage_replaces_them(name):
    entries = STAGES[name]["outs"] + STAGES[name].get("metrics", [])
    assert all(options["persist"] for entry in entries for options in entry.values())


def test_checkpoints_are_never_outputs():
    assert not checkpoints(set().union(*map(outs, STAGES)))


@pytest.fixture(scope="module")
def adopted(smoke_run: SmokeRun, tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A project whose plain runs of Kedro DVC has adopted, pushed to a local remote."""
    folder = tmp_path_factory.mktemp("dvc")
    shutil.copytree(smoke_run.folder, folder / "project")
    project = Project(folder / "project")
    stages = (project.folder / "dvc.yaml").read_text()
    (project.folder / "dvc.yaml").write_text(stages.replace("- env: default", "- env: smoke"))
    project.run("kedro", "run", "--pipelines", "promotion,report", "--env", "smoke")
    project.run("dvc", "commit", "--force", "--with-deps", CHAIN_END)
    project.run("dvc", "remote", "add", "--default", "store", str(folder / "remote"))
    project.git("add", "--all")
    project.git("commit", "--quiet", "--message", "adopt")
    project.run("dvc", "push")
    return project


def fresh(project: Project) -> bool:
    """Whether `dvc repro` of the chain runs no stage and changes no file."""
    output = project.run("dvc", "repro", CHAIN_END).stdout
    return "up to date" in output and not project.git("status", "--porcelain")


def test_adopted_run_is_fresh(adopted):
    assert fresh(adopted)


def test_clone_and_pull_is_fresh(adopted, tmp_path):
    adopted.git("clone", "--quiet", str(adopted.folder), str(tmp_path / "clone"))
    clone = Project(tmp_path / "clone")
    clone.run("dvc", "pull", "--with-deps", CHAIN_END)
    assert fresh(clone)
    assert (clone.folder / "data/06_models/student/weights.safetensors").is_file()


def test_changed_parameter_runs_its_stage_and_those_after_as_one_parent(adopted, tmp_path):
    shutil.copytree(adopted.folder, tmp_path / "changed")
    project = Project(tmp_path / "changed")
    shutil.rmtree(project.folder / "mlartifacts")
    (project.folder / "mlflow.db").unlink()
    parameters = project.folder / "conf/base/parameters.yml"
    changed = parameters.read_text().replace("ranking_loss_weight: 0.1", "ranking_loss_weight: 0.5")
    parameters.write_text(changed)
    said = project.run("dvc", "repro", CHAIN_END).stdout
    ran = [name for name in STAGES if f"Running stage '{name}'" in said]
    assert ran == ["student_distillation", "evaluation", "promotion", "report"]
    _check_tree(project)


def _check_tree(project: Project) -> None:
    from mlflow import MlflowClient

    client = MlflowClient(project.store)
    found = client.search_runs(["1"])
    scored = [run for run in found if run.info.run_name.startswith("models:/")]
    runs = {run.info.run_name.split(" smoke")[0]: run for run in found if run not in scored}
    metrics = json.loads((project.folder / "data/08_reporting/metrics.json").read_text())
    result = f"student {metrics['student']:.3f}, teacher {metrics['teacher']:.3f}"
    parent = f"dvc repro: {result}"
    stages = ("student_distillation", "evaluation", "promotion", "report")
    assert runs.keys() == {parent, *stages}
    assert runs["evaluation"].info.run_name == f"evaluation smoke seed 0: {result}"
    assert runs[parent].data.params["student.sharing"] == "frozen"
    for name, value in metrics.items():
        assert runs[parent].data.metrics[f"evaluation/{name}"] == value
    for name in (parent, "report"):
        kept = client.list_artifacts(runs[name].info.run_id)
        assert "report.html" in {entry.path for entry in kept}
    # The teacher's stage did not run: it is not in this registry. The gate scores the student too.
    evaluated = runs["evaluation"].info.run_id
    (student,) = [run for run in scored if run.data.tags["mlflow.parentRunId"] == evaluated]
    decision = json.loads((project.folder / "data/08_reporting/promotion.json").read_text())
    assert runs["promotion"].info.run_name == f"promotion smoke seed 0: {decision['outcome']}"
    assert student.data.tags["model"] == "models:/rangefinder-student/1"
    assert {run.info.status for run in runs.values()} == {"FINISHED"}
    lock = yaml.safe_load((project.folder / "dvc.lock").read_text())["stages"]
    for name in stages:
        tags = runs[name].data.tags
        assert tags["mlflow.parentRunId"] == runs[parent].info.run_id
        data = {d["path"]: d["md5"] for d in lock[name]["deps"] if d["path"].startswith("data/")}
        assert {path: tags[f"dvc.dep.{path}"] for path in data} == data


@pytest.mark.slow
def test_repro_from_clean_then_fresh(project):
    stages = (project.folder / "dvc.yaml").read_text()
    (project.folder / "dvc.yaml").write_text(stages.replace("- env: default", "- env: smoke"))
    said = project.run("dvc", "repro").stdout
    assert all(f"Running stage '{name}'" in said for name in STAGES)
    _check_lineage(project, "1", "dvc repro ")
    project.git("add", "--all")
    project.git("commit", "--quiet", "--message", "run")
    assert fresh(project)
    changed = ("-S", "conf/base/parameters.yml:student.ranking_loss_weight=0.5")
    project.run("dvc", "exp", "run", "--name", "ranked", *changed)
    _check_lineage(project, "2", "dvc repro ")
    _check_comparisons(project)


def _check_comparisons(project: Project) -> None:
    """What docs/mlops.md compares the experiment `ranked` and its origin with."""
    student = json.loads((project.folder / "data/08_reporting/metrics.json").read_text())["student"]
    weight = "student.ranking_loss_weight"
    params = json.loads(project.run("dvc", "params", "diff", "HEAD", "--json").stdout)
    ((name, change),) = params["conf/base/parameters.yml"].items()
    assert (name, change["old"], change["new"]) == (weight, 0.1, 0.5)
    metrics = json.loads(project.run("dvc", "metrics", "diff", "--json").stdout)
    assert metrics["data/08_reporting/metrics.json"]["student"]["new"] == student
    shown = project.run("dvc", "exp", "show", "--csv").stdout
    table = pd.read_csv(StringIO(shown)).set_index("Experiment")
    assert table.loc["ranked", "student"] == student
    assert table.loc["ranked", weight] == 0.5
    plots = json.loads(project.run("dvc", "plots", "diff", "HEAD", "ranked", "--json").stdout)
    drawn = {name: one["revisions"] for name, (one,) in plots["data"].items()}
    declared = yaml.safe_load((project.folder / "dvc.yaml").read_text())["plots"]
    assert drawn == {name: ["HEAD", "ranked"] for (name,) in declared}


def _check_lineage(project: Project, version: str, command: str) -> None:
    """The chain of a student ends at the captures that are there, with commands for all of it."""
    from mlflow import MlflowClient

    client = MlflowClient(project.store)
    found = lineage(client, f"models:/rangefinder-student/{version}")
    links = {link.what: link for link in found}
    captures = read_captures(project.folder / "data/02_intermediate/captures")
    listed = Path(links["captures"].facts["listed in"]).read_bytes()
    assert checksum(listed) == captures.digest == links["captures"].fingerprint
    stages = ("student_distillation", "patch_caching", "teacher_training", "ingestion")
    made = (links[what].command for what in ("student", "cache", "teacher", "captures"))
    assert [each.removeprefix(command) for each in made] == list(stages)
