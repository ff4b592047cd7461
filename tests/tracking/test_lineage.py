"""Lineage of registered models: links that exist, links that are missing, text and page."""

from __future__ import annotations

from pathlib import Path

import pytest

from rangefinder.common.page import page
from rangefinder.config import TrackingParams
from rangefinder.config.project import STUDENT_NAME, TEACHER_NAME
from rangefinder.errors import ModelError
from rangefinder.tracking.lineage import Link, as_text, lineage, section
from rangefinder.tracking.runs import TrackedRun
from rangefinder.tracking.store import Store

from ..pages import Page
from ..tiny_camera import make_model, register_model


@pytest.fixture(scope="module")
def client(tmp_path_factory):
    """A registry with a teacher of one run and a student of another."""
    with pytest.MonkeyPatch.context() as patch:
        for name in ("MLFLOW_TRACKING_URI", "DVC_ROOT", "DVC_STAGE"):
            patch.delenv(name, raising=False)
        store = Store.of(tmp_path_factory.mktemp("store"), TrackingParams())
        teacher = make_model("teacher")
        tags = {"nodes": "train_teacher", "mlflow.source.name": "kedro run --pipelines a"}
        run = TrackedRun.start(store, "rangefinder", "first", tags)
        register_model(run, teacher, TEACHER_NAME, {"captures": "c" * 16})
        run.end("FINISHED")
        tags = {"cache": "b" * 16, "nodes": "sweep_teacher", "dvc.stage": "patch_caching"}
        run = TrackedRun.start(store, "rangefinder", "second", tags)
        made_from = {"captures": "c" * 16, "cache": "b" * 16, "teacher": teacher.fingerprint}
        register_model(run, make_model("student"), STUDENT_NAME, made_from)
        run.end("FINISHED")
        yield run.client


def test_links_are_found_in_whatever_run_made_them(client):
    links = {link.what: link for link in lineage(client, f"models:/{STUDENT_NAME}/1")}
    assert links["teacher"].command == "kedro run --pipelines a"
    assert links["teacher"].fingerprint == make_model("teacher").fingerprint
    assert links["cache"].command == "dvc repro patch_caching"
    assert links["captures"].command == ""
    assert "no run of this registry" in links["captures"].facts["made by"]
    assert links["student"].facts["AbsRel"] == "unevaluated"


def test_a_teacher_has_no_cache(client):
    assert [link.what for link in lineage(client, f"models:/{TEACHER_NAME}/1")] == [
        "teacher",
        "captures",
        "camera",
        "lens",
        "commit",
    ]


@pytest.mark.parametrize("name", [f"models:/{STUDENT_NAME}@nobody", "models:/other/1", "folder"])
def test_what_is_not_registered_is_named(client, name):
    with pytest.raises(ModelError, match=f"{name} is not registered"):
        lineage(client, name)


def test_text_and_page_show_every_link_and_the_page_needs_no_network():
    links = [Link("student", "a" * 16, {"seed": "<0>"}, "dvc repro"), Link("commit", "", {}, "")]
    text = as_text(links)
    assert "a" * 16 in text
    assert "again: dvc repro" in text
    read = Page(page("A student", "", [section(links)]))
    assert "<0>" in read.text
    assert "made again by dvc repro" in read.text
    assert read.text.count("made from") == 1
    assert read.addresses == ["data:,"]


def test_a_teacher_that_was_registered_twice_is_the_version_with_scores(client):
    database = Path(client.tracking_uri.removeprefix("sqlite:///"))
    store = Store.of(database.parent, TrackingParams())
    run = TrackedRun.start(store, "rangefinder", "again", {"nodes": "train_teacher"})
    register_model(run, make_model("teacher"), TEACHER_NAME, {"captures": "c" * 16})
    run.end("FINISHED")

    def registered() -> str:
        links = {link.what: link for link in lineage(client, f"models:/{STUDENT_NAME}/1")}
        return links["teacher"].facts["registered as"]

    assert registered() == f"models:/{TEACHER_NAME}/1"
    client.set_model_version_tag(TEACHER_NAME, "2", "abs_rel", "0.2")
    assert registered() == f"models:/{TEACHER_NAME}/2"
