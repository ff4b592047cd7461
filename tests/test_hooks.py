"""Kedro hooks: what runs are called, and plugins that do the same."""

from __future__ import annotations

import logging
from types import SimpleNamespace

import pytest

from rangefinder.hooks import TrackingHook, _command, _title, in_order
from rangefinder.pipeline_registry import register_pipelines


def options(**given):
    return {"pipeline_names": None, "env": None, "runtime_params": None} | given


@pytest.mark.parametrize(
    ("given", "part", "title"),
    [
        ({}, [], "distill base seed 3"),
        ({"env": "smoke"}, [], "distill smoke seed 3"),
        ({"pipeline_names": ["evaluation"]}, [], "evaluation base seed 3"),
        ({"from_nodes": ["a"]}, ["a", "b", "c"], "part of distill (a to c) base seed 3"),
        ({"node_names": ["a"]}, ["a"], "part of distill (a) base seed 3"),
    ],
)
def test_a_run_is_named_by_what_it_is(given, part, title):
    assert _title(options(**given), part, seed=3) == title


def test_pipelines_are_named_in_the_order_in_which_they_run():
    every = register_pipelines()
    nodes = ["promote_student", "write_report", "export_student"]
    names = ["report", "export", "promotion"]
    assert in_order(names, nodes, every) == ["promotion", "report", "export"]
    assert in_order(["evaluation", "ingestion"], ["trace_lens"], every)[0] == "ingestion"
    assert in_order([], nodes, every) == []


def test_the_source_of_a_run_is_the_command_that_repeats_it():
    given = options(
        pipeline_names=["distill"],
        env="smoke",
        from_nodes=["a", "b"],
        runtime_params={"student": {"max_epochs": 3}, "seed": 1},
    )
    assert _command(given) == (
        "kedro run --pipelines distill --env smoke --from-nodes a,b "
        "--params student.max_epochs=3,seed=1"
    )


@pytest.mark.parametrize("installed", [True, False])
def test_kedro_mlflow_is_not_ignored_silently(installed, tmp_path, monkeypatch, caplog):
    if installed:
        (tmp_path / "kedro_mlflow").mkdir()
        (tmp_path / "kedro_mlflow/__init__.py").touch()
        monkeypatch.syspath_prepend(tmp_path)
    context = SimpleNamespace(config_loader={"tracking": {}}, project_path=tmp_path)
    with caplog.at_level(logging.INFO):
        TrackingHook().after_context_created(context)
    assert ("kedro-mlflow is installed and not used" in caplog.text) is installed
