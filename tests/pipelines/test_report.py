"""The report of a smoke run: every section, the evaluation's numbers and figures, no network."""

from __future__ import annotations

import json
import re
from typing import Any

import pandas as pd
import pytest

from rangefinder.captures.manifest import read_captures
from rangefinder.errors import ModelError
from rangefinder.models.model_files import load_model
from rangefinder.pipelines.report import write_report

from ..browser import DESKTOP, PHONE, looker
from ..conftest import SmokeRun
from ..pages import Page

SECTIONS = [
    "Result and decision",
    "Scores",
    "Where errors are",
    "Calibration",
    "Before and behind the focus",
    "Best and worst photos",
    "What the lens allows",
    "Not run yet",
    "Data",
    "Lineage",
]
DRAWN = ("error_by_distance", "error_by_field_position", "predicted_against_true", "reliability")
DRAWN += ("sparsification", "defocus_sign", "cramer_rao")
RULES = [
    {"rule": "better than the champion", "holds": False, "numbers": "1.050 times its AbsRel"},
    {"rule": "no slower", "holds": True, "numbers": "1.0 ms a photo"},
]


@pytest.fixture(scope="module")
def source(smoke_run: SmokeRun) -> str:
    return (smoke_run.folder / "data/08_reporting/report.html").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def report(source) -> Page:
    return Page(source)


@pytest.fixture(scope="module")
def left(smoke_run: SmokeRun) -> dict[str, Any]:
    """What the run left behind, as the node takes it; nothing was decided, nothing studied."""
    folder = smoke_run.folder / "data/08_reporting"
    missing = ("promotion", "ablation", "ablation_figure", "benchmark", "benchmark_figure")
    return {
        "captures": read_captures(smoke_run.folder / "data/02_intermediate/captures"),
        "student": load_model(smoke_run.folder / "data/06_models/student"),
        "evaluation": json.loads((folder / "evaluation.json").read_text()),
        "per_image": pd.read_csv(folder / "per_image.csv", dtype={"scene": str}),
        "figures": {path.stem: path.read_bytes() for path in folder.glob("figures/*.png")},
        **dict.fromkeys(missing),
    }


def test_every_section_is_there(report):
    assert report.sections == SECTIONS


def test_numbers_are_those_of_the_evaluation(report, left):
    models = left["evaluation"]["models"]
    scores, regions = report.table("model"), report.table("region")
    for place, (name, model) in enumerate(models.items()):
        overall = model["overall"]
        assert scores[name][:2] == [f"{overall['abs_rel']:.3f}", f"{overall['mae_m']:.3f}"]
        assert regions["weak texture"][place + 1] == f"{model['by_texture']['weak']['abs_rel']:.3f}"
        assert regions["3.0-4.0 m"][place + 1] == (
            f"{model['by_distance_m']['3.0-4.0']['abs_rel']:.3f}"
        )
        assert f"{100 * overall['abs_rel']:.1f} %" in report.text
    least = left["evaluation"]["crlb_ratio"]
    assert report.table("distance")["1 to 1.5 m"] == [
        f"{least['bound_m']['1.0-1.5']:.2g}",
        *(f"{least['models'][name]['1.0-1.5']:.1f}" for name in ("teacher", "student")),
    ]
    captures = left["captures"].table
    training = captures["role"].eq("unlabelled") & captures["split"].eq("train")
    assert report.table("captures")["unlabelled"][1] == str(training.sum())


def test_figures_are_inside_each_with_a_text_of_its_own(report, left):
    shown = list(report.pictures.values())
    assert all(left["figures"][name] in shown for name in DRAWN)
    assert all(len(alt) > 40 for alt in report.pictures)


def test_the_best_and_the_worst_of_the_photos_are_shown(report, left):
    rows = left["per_image"].query("model == 'student'").reset_index(drop=True)
    drawn = {int(name[8:11]) for name in left["figures"] if name.startswith("capture_")}
    shown = re.findall(r"the student's AbsRel is (0\.\d+), number (\d+) of 7", report.text)
    assert {value for value, _ in shown} == {f"{rows['abs_rel'][i]:.3f}" for i in drawn}
    assert {int(rank) for _, rank in shown} == {int(rows["abs_rel"].rank()[i]) for i in drawn}


def test_of_many_photos_real_ones_the_best_and_the_worst_are_shown(left):
    """Drawn are more than are shown: every capture of the test split."""
    png = next(iter(left["figures"].values()))
    rows = left["per_image"].query("model == 'student'").reset_index(drop=True)
    drawn = {f"capture_{index:03d}_x": png for index in rows.index}
    curves = {name: content for name, content in left["figures"].items() if name in DRAWN}
    read = written(left, figures=curves | drawn)
    real = rows["scene"].isin(left["evaluation"]["models"]["student"]["real_scenes"])
    others = rows[~real].sort_values("abs_rel").index
    assert len(others) > 2
    wanted = {*rows.index[real], others[0], others[-1]}
    shown = re.findall(r"the student's AbsRel is (0\.\d+), number", read.text)
    assert sorted(shown) == sorted(f"{rows['abs_rel'][index]:.3f}" for index in wanted)


def test_nothing_is_loaded(report):
    assert all(address == "data:," or address.startswith("#") for address in report.addresses)


def test_the_run_says_where_it_is(smoke_run):
    (name,) = re.findall(r"^All of it on one page: (\S+)$", smoke_run.output, re.MULTILINE)
    assert (smoke_run.folder / name).is_file()


def test_the_lineage_is_that_of_the_student(report, left):
    assert "models:/rangefinder-student/1" in report.text
    assert f"captures {left['captures'].digest}" in report.text
    assert "made again by kedro run --pipelines distill --env smoke" in report.text


def written(left: dict[str, Any], **changed: Any) -> Page:
    return Page(write_report(**{**left, **changed}).decode())


def test_what_is_not_known_is_said_with_the_command_that_helps(left):
    read = written(left)
    assert "Not decided yet: kedro run --pipelines promotion,report" in read.text
    assert "kedro run --pipelines ablation,report" in read.text
    assert "tracking is off" in read.text


def decision(left: dict[str, Any], **changed: Any) -> dict[str, Any]:
    scores = left["evaluation"]["models"]
    return {
        "outcome": "refused",
        "model": "rangefinder-student",
        "version": "8",
        "fingerprint": left["student"].fingerprint,
        "champion": "7",
        "against": "the champion, version 7",
        "captures": left["evaluation"]["dataset"]["digest"],
        "checks": RULES,
        "scores": {"champion": scores["teacher"], "candidate": scores["student"]},
        **changed,
    }


def test_a_refusal_gives_its_reasons_and_the_champions_scores(left):
    read = written(left, promotion=decision(left))
    assert "Refused; broken: better than the champion." in read.text
    assert read.table("")["NO"] == ["better than the champion", "1.050 times its AbsRel"]
    scores = read.table("model")
    assert scores["champion, version 7"] == scores["teacher"]


def test_a_decision_on_another_student_is_left_out(left):
    read = written(left, promotion=decision(left, fingerprint="0" * 16))
    assert "Not decided yet" in read.text
    assert "Refused" not in read.text


def test_a_decision_on_other_captures_is_left_out(left):
    read = written(left, promotion=decision(left, captures="0" * 16))
    assert "Not decided yet" in read.text


def test_scores_of_another_student_are_refused(left):
    other = left["evaluation"] | {"student": "0" * 16}
    with pytest.raises(ModelError, match="scores are not those of the student"):
        written(left, evaluation=other)


def test_the_speed_of_another_student_is_left_out(left):
    assert written(left, benchmark={"student": "0" * 16}).sections == SECTIONS


def test_a_study_of_other_captures_is_left_out(left):
    read = written(left, ablation={"captures": "0" * 16, "variants": {}, "hypotheses": []})
    assert read.sections == SECTIONS


@pytest.mark.slow
@pytest.mark.parametrize("size", [DESKTOP, PHONE])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_is_read_in_a_browser_without_a_network(browser, smoke_run, size, scheme):
    url = (smoke_run.folder / "data/08_reporting/report.html").as_uri()
    with looker(browser, url, size, offline=True, color_scheme=scheme) as look:
        assert look.fits()
        assert look.errors == []
        assert look.loaded == [url]
        widths = look.page.eval_on_selector_all("img", "all => all.map(one => one.naturalWidth)")
        assert len(widths) >= len(DRAWN)
        assert all(widths)
        assert look.contrast("p, td, th, dt, dd, a, figcaption, caption, .notice") >= 4.5
