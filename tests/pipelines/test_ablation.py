"""The ablation pipeline: its table and hypotheses, and no training is repeated."""

from __future__ import annotations

import json
import shutil
import signal

import pandas as pd
import pytest
from PIL import Image

from ..conftest import Project, SmokeRun
from ..pages import Page

COMMAND = ("kedro", "run", "--pipelines", "ablation,report", "--env", "smoke")
COLUMNS = ["variant", "seed", "abs_rel", "delta1"]
COLUMNS += ["corner_abs_rel", "strong_abs_rel", "weak_abs_rel"]


@pytest.fixture(scope="module")
def ablated(smoke_run: SmokeRun, tmp_path_factory: pytest.TempPathFactory) -> SmokeRun:
    folder = tmp_path_factory.mktemp("ablation") / "project"
    shutil.copytree(smoke_run.folder, folder)
    done = Project(folder).run(*COMMAND)
    return SmokeRun(folder, done.stdout + done.stderr)


def table(project: Project) -> pd.DataFrame:
    return pd.read_csv(project.folder / "data/08_reporting/ablation.csv")


def results(project: Project) -> dict[str, int]:
    every = (project.folder / "data/06_models/ablation").glob("*/result.json")
    return {path.parent.name: path.stat().st_mtime_ns for path in every}


def test_every_variant_has_a_row_of_scores(ablated):
    found = table(ablated)
    assert list(found.columns[: len(COLUMNS)]) == COLUMNS
    assert set(found["variant"]) == {"all", "teacher", "no_location", "on_charts"}
    assert found[COLUMNS[2:]].notna().all(axis=None)
    assert found["abs_rel"].nunique() == len(found)


def test_the_report_has_the_variants(ablated):
    report = Page((ablated.folder / "data/08_reporting/report.html").read_text())
    assert "What each part is worth" in report.sections
    found = table(ablated).set_index("variant")["abs_rel"]
    shown = report.table("variant")
    assert {name: shown[name][0] for name in found.index} == {
        name: f"{value:.3f}" for name, value in found.items()
    }
    figure = (ablated.folder / "data/08_reporting/ablation.png").read_bytes()
    assert figure in report.pictures.values()


def test_a_student_of_charts_alone_has_composited_scenes_too(ablated):
    for name in ("all", "on_charts"):
        card = ablated.folder / f"data/06_models/ablation/{name}-0/student/card.json"
        assert json.loads(card.read_text())["student"]["composited_scenes"] > 0


def test_hypotheses_are_printed_and_written(ablated):
    content = json.loads((ablated.folder / "data/08_reporting/ablation.json").read_text())
    hypotheses = content["hypotheses"]
    assert {one["numbers"]["score"] for one in hypotheses} >= {"abs_rel", "corner_abs_rel"}
    assert all(isinstance(one["holds"], bool) for one in hypotheses)
    for one in hypotheses:
        assert one["hypothesis"] in ablated.output
    with Image.open(ablated.folder / "data/08_reporting/ablation.png") as picture:
        assert picture.width > 500


@pytest.mark.slow
def test_only_what_is_missing_is_trained_again(ablated):
    before, first = results(ablated), table(ablated)
    shutil.rmtree(ablated.folder / "data/06_models/ablation/on_charts-0")
    ablated.run(*COMMAND)
    after = results(ablated)
    changed = {name for name in before if before[name] != after[name]}
    assert changed == {"on_charts-0"}
    pd.testing.assert_frame_equal(table(ablated), first)


def test_the_log_of_each_training_is_beside_its_result(ablated):
    log = ablated.folder / "data/06_models/ablation/all-0/log.txt"
    assert "photos are to be swept" in log.read_text()
    assert "photos are to be swept" not in ablated.output
    assert "no_location-0: AbsRel" in ablated.output


@pytest.mark.slow
def test_other_parameters_are_trained_again_and_only_configured_variants(ablated):
    before = results(ablated)
    ablated.run(*COMMAND, "--params", "student.max_epochs=1,ablation.variants=[no_location]")
    after = results(ablated)
    assert {name for name in before if before[name] != after[name]} == {"all-0", "no_location-0"}
    assert set(table(ablated)["variant"]) == {"all", "teacher", "no_location"}


def test_a_stop_ends_all_trainings_and_they_resume(ablated):
    params = "teacher.max_epochs=20,ablation.variants=[all]"
    log = ablated.folder / "data/06_models/ablation/all-0/log.txt"
    logged = len(log.read_text())
    checkpoint = "data/06_models/ablation/checkpoints/*/last.ckpt"
    ablated.stop(signal.SIGTERM, checkpoint, *COMMAND, "--params", params)
    assert any(ablated.folder.glob(checkpoint))
    ablated.run(*COMMAND, "--params", params)
    assert "Resuming from the checkpoint" in log.read_text()[logged:]
