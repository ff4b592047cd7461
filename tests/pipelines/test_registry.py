"""The pipelines: inputs and outputs of each, sections of the parameters, and the chain."""

from __future__ import annotations

import pytest

from rangefinder.config import Parameters
from rangefinder.hooks import ParameterHook
from rangefinder.pipeline_registry import register_pipelines

NAMES = ["ingestion", "teacher_training", "patch_caching", "student_distillation", "evaluation"]
AFTER = ["export", "promotion"]
STUDIES = ["ablation", "benchmark", "cache_audit"]
SCORES = {"evaluation", "metrics", "per_image", "figures"}
SCORES |= {"error_by_distance", "reliability", "risk_coverage"}
FOLDERS = {"raw", "psf_banks", "teacher_checkpoints", "student_checkpoints", "teacher_cache_folder"}


@pytest.fixture(scope="module")
def pipelines():
    return register_pipelines()


def test_all_pipelines_are_there(pipelines):
    assert set(pipelines) == {*NAMES, *AFTER, *STUDIES, "distill", "__default__"}


def test_distill_chains_all_and_is_the_default(pipelines):
    chained = {node.name for name in NAMES for node in pipelines[name].nodes}
    assert {node.name for node in pipelines["distill"].nodes} == chained
    assert pipelines["__default__"].nodes == pipelines["distill"].nodes


def data_inputs(pipeline):
    return {name for name in pipeline.inputs() if not name.startswith("param")}


def test_distill_needs_nothing_but_parameters_and_working_folders(pipelines):
    assert data_inputs(pipelines["distill"]) == FOLDERS


def test_only_studies_take_all_parameters(pipelines):
    takers = {name for name, p in pipelines.items() if "parameters" in p.inputs()}
    assert takers == {"benchmark", "ablation"}


@pytest.mark.parametrize("name", [*NAMES, "promotion"])
def test_sections_exist_and_reach_the_nodes_typed(pipelines, name):
    hook = ParameterHook()
    hook._parameters = Parameters()
    for node in pipelines[name].nodes:
        sections = {x: None for x in node.inputs if x.startswith("params:")}
        typed = hook.before_node_run(sections)
        assert typed.keys() == sections.keys()
        for section, value in typed.items():
            assert value == getattr(Parameters(), section.removeprefix("params:"))


@pytest.mark.parametrize(
    ("name", "takes", "leaves"),
    [
        ("ingestion", set(), {"captures"}),
        ("teacher_training", {"captures"}, {"teacher"}),
        ("patch_caching", {"captures", "teacher"}, {"teacher_cache"}),
        ("student_distillation", {"captures", "teacher", "teacher_cache"}, {"student"}),
        (
            "benchmark",
            {"captures", "teacher", "teacher_cache", "student"},
            {"benchmark", "benchmark_figure"},
        ),
        ("cache_audit", {"captures", "teacher", "teacher_cache"}, {"cache_audit"}),
        (
            "ablation",
            {"captures", "ablation_folder"},
            {"ablation_table", "ablation_figure", "ablation"},
        ),
        ("evaluation", {"captures", "teacher", "student"}, SCORES),
        ("promotion", {"captures", "student"}, {"promotion"}),
    ],
)
def test_inputs_and_outputs_of_each_pipeline(pipelines, name, takes, leaves):
    assert data_inputs(pipelines[name]) - FOLDERS == takes
    assert pipelines[name].outputs() == leaves
