"""Promotion on a real registry: students that predict one distance each, captures at another."""

from __future__ import annotations

import shutil
import threading

import pytest
import torch
import yaml
from click.testing import CliRunner

from rangefinder.captures.manifest import write_captures
from rangefinder.commands import main
from rangefinder.config import TrackingParams
from rangefinder.config.project import STUDENT_NAME, Project
from rangefinder.errors import ModelError
from rangefinder.tracking.promotion import Gate, promote, rollback
from rangefinder.tracking.registry import find_version
from rangefinder.tracking.runs import TrackedRun
from rangefinder.tracking.store import Store

from ..tiny_camera import CAMERA, make_capture, make_model, register_model

CONFIGURATION = {
    "parameters": {
        "compute": {"threads": 1},
        "evaluation": {"bootstrap": 20},
        "promotion": {"latency_turns": 3, "latency_tolerance": 10.0},
    },
    "tracking": {"system_metrics": False},
}
TRUTH_M, TRAINED_M = 1.0, 1.7  # the best constant is off by 70 %
FAIR_M, WORSE_M, BETTER_M, BAD_M = DISTANCES_M = (1.3, 1.5, 1.05, 2.5)  # what students predict
OTHER_CAMERA = CAMERA.model_copy(update={"f_number": 8.0})


def student_at(distance_m, camera=CAMERA):
    """A student that predicts about this distance everywhere."""
    model = make_model("student", camera, seed=round(100 * distance_m))
    head, bins = model.network.head, model.distribution
    torch.nn.init.zeros_(head.weight)
    head.bias.data = -((bins.centres_dpt - 1 / distance_m) / 0.05).square().clamp(max=400.0)
    return model


@pytest.fixture(scope="module")
def template(tmp_path_factory):
    """A project with captures and a registry of students, the one at DISTANCES_M[i] as i + 1."""
    root = tmp_path_factory.mktemp("template")
    (root / "pyproject.toml").write_text('[tool.kedro]\npackage_name = "rangefinder"\n')
    for name in ("parameters", "tracking"):
        (root / "conf/base").mkdir(parents=True, exist_ok=True)
        (root / f"conf/base/{name}.yml").write_text(yaml.safe_dump(CONFIGURATION[name]))
    frame = torch.full((CAMERA.height_px, CAMERA.width_px), TRUTH_M)
    other = frame * TRAINED_M / TRUTH_M
    captures = [make_capture(split="test", seed=seed, distance_map=frame) for seed in range(3)]
    captures.append(make_capture(split="train", seed=3, distance_map=other))
    project = Project(root, "base")
    write_captures(project.captures, CAMERA, captures)
    with pytest.MonkeyPatch.context() as patch:
        without_settings(patch)
        run = TrackedRun.start(Store.of(root, TrackingParams()), "rangefinder", "train", {})
        for distance_m in DISTANCES_M:
            register_model(run, student_at(distance_m), STUDENT_NAME, {})
        register_model(run, student_at(1.0, OTHER_CAMERA), STUDENT_NAME, {})
        run.end("FINISHED")
    return project


@pytest.fixture
def project(template, tmp_path, monkeypatch):
    """A copy of it; artifacts stay where they are."""
    without_settings(monkeypatch)
    ignored = shutil.ignore_patterns("mlartifacts")
    shutil.copytree(template.root, tmp_path / "project", ignore=ignored)
    return Project(tmp_path / "project", "base")


def without_settings(patch):
    for name in ("MLFLOW_TRACKING_URI", "DVC_ROOT", "DVC_STAGE"):
        patch.delenv(name, raising=False)


def number_of(distance_m):
    """Version of the student that predicts this distance."""
    return str(DISTANCES_M.index(distance_m) + 1)


def champion(gate):
    found = find_version(gate.client, STUDENT_NAME, "champion")
    return found and found.number


def test_better_students_are_promoted_worse_ones_refused_and_steps_back_are_possible(project):
    first, worse, better = map(number_of, (FAIR_M, WORSE_M, BETTER_M))
    gate = Gate.of(project)
    assert promote(project, first).outcome == "promoted"
    refused = promote(project, worse)
    assert refused.outcome == "refused"
    assert "better than the champion" in [check.rule for check in refused.broken]
    assert champion(gate) == first
    assert promote(project, better, dry_run=True).outcome == "promoted"
    assert champion(gate) == first
    assert promote(project, better).outcome == "promoted"
    assert champion(gate) == better
    assert promote(project, better).outcome == "unchanged"
    former, now = rollback(project)
    assert (former.number, now.number) == (better, first)
    assert champion(gate) == first
    with pytest.raises(ModelError, match="first champion"):
        rollback(project)


def test_a_decision_is_in_tags_description_metrics_and_file(project):
    first, worse = number_of(FAIR_M), number_of(WORSE_M)
    promote(project, first)
    decision = promote(project, worse)
    gate = Gate.of(project)
    stored = gate.client.get_model_version(STUDENT_NAME, worse)
    assert stored.tags["promotion"] == "refused"
    assert stored.tags["promotion.against"] == f"the champion, version {first}"
    test = gate.captures.select(role="labelled", split="test").digest
    assert stored.tags["promotion.captures"] == decision.captures == test
    assert "better than the champion" in stored.tags["promotion.reasons"]
    assert "Refused against the champion, version 1" in stored.description
    version = find_version(gate.client, STUDENT_NAME, worse)
    logged = gate.client.get_logged_model(version.model_id)
    scores = {metric.key: metric.value for metric in logged.metrics}
    assert (
        scores["overall/abs_rel"] == decision.content()["scores"]["candidate"]["overall"]["abs_rel"]
    )
    assert f'"version": "{worse}"' in project.promotion_report.read_text()
    (run, *_) = gate.client.search_runs(["1"], "attributes.run_name LIKE 'promote%'")
    assert run.info.run_name == f"promote models:/{STUDENT_NAME}/{worse}: refused"


def test_commands_end_with_2_and_the_reason_and_draw_the_lineage(project, monkeypatch):
    monkeypatch.chdir(project.root)
    run = CliRunner().invoke
    env = ("--env", "base")
    none = run(main, ["promote", *env])
    assert none.exit_code == 2
    assert "with the alias candidate" in none.output
    done = run(main, ["promote", "--version", number_of(FAIR_M), *env])
    assert (done.exit_code, "Promoted: it is the champion." in done.output) == (0, True)
    refused = run(main, ["promote", "--version", number_of(WORSE_M), "--dry-run", *env])
    assert refused.exit_code == 2
    assert "Refused; broken: better than the champion" in refused.output
    back = run(main, ["rollback", *env])
    assert back.exit_code == 2
    assert "first champion" in back.output
    name = f"models:/{STUDENT_NAME}@champion"
    assert run(main, ["lineage", name, "--html", "lineage.html", *env]).exit_code == 0
    assert student_at(FAIR_M).fingerprint in (project.root / "lineage.html").read_text()


def test_force_promotes_and_says_so(project):
    first, worse = number_of(FAIR_M), number_of(WORSE_M)
    promote(project, first)
    decision = promote(project, worse, force=True)
    assert decision.outcome == "forced"
    gate = Gate.of(project)
    assert champion(gate) == worse
    tags = gate.client.get_model_version(STUDENT_NAME, worse).tags
    assert tags["promotion"] == "forced"
    assert "better than the champion" in tags["promotion.reasons"]


def test_neither_a_worse_one_than_the_constant_nor_one_of_another_camera_gets_in(project):
    bad, good = number_of(BAD_M), number_of(FAIR_M)
    assert promote(project, bad).outcome == "refused"
    gate = Gate.of(project)
    assert champion(gate) is None
    promote(project, good)
    gate.client.set_registered_model_alias(STUDENT_NAME, "champion", str(len(DISTANCES_M) + 1))
    decision = promote(project, bad)
    assert [check.rule for check in decision.broken] == ["of the champion's camera"]


def test_without_a_candidate_there_is_a_sentence(project):
    with pytest.raises(ModelError, match="with the alias candidate"):
        promote(project, None)
    with pytest.raises(ModelError, match="of version 7"):
        promote(project, "7")


def test_two_promotions_at_once_end_with_the_better_one_as_champion(project):
    fair, best = number_of(FAIR_M), number_of(BETTER_M)
    outcomes = {}

    def start(number):
        outcomes[number] = promote(project, number).outcome

    threads = [threading.Thread(target=start, args=(number,)) for number in (best, fair)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert champion(Gate.of(project)) == best
    assert outcomes[best] == "promoted"
    assert outcomes[fair] in ("promoted", "refused")  # by whoever came first
