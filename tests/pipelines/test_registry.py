"""The pipelines: what each takes and leaves, and how they chain."""

from __future__ import annotations

import pytest

from rangefinder.pipeline_registry import register_pipelines

NAMES = [
    "ingestion",
    "teacher_training",
    "patch_caching",
    "student_distillation",
    "evaluation",
]
STUDIES = ["ablation", "benchmark", "cache_audit"]
FOLDERS = {"raw", "psf_banks", "teacher_checkpoints", "student_checkpoints", "teacher_cache_folder"}


@pytest.fixture(scope="module")
def pipelines():
    return register_pipelines()


def test_all_pipelines_are_there(pipelines):
    assert set(pipelines) == {*NAMES, *STUDIES, "distill", "__default__"}


def test_distill_chains_all_and_is_the_default(pipelines):
    chained = {node.name for name in NAMES for node in pipelines[name].nodes}
    assert {node.name for node in pipelines["distill"].nodes} == chained
    assert pipelines["__default__"].nodes == pipelines["distill"].nodes


def test_distill_needs_nothing_but_parameters_and_working_folders(pipelines):
    assert pipelines["distill"].inputs() == {"parameters"} | FOLDERS


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
        (
            "evaluation",
            {"captures", "teacher", "student"},
            {"evaluation", "per_image", "figures"},
        ),
    ],
)
def test_contract_of_each_pipeline(pipelines, name, takes, leaves):
    assert pipelines[name].inputs() - {"parameters"} - FOLDERS == takes
    assert pipelines[name].outputs() == leaves
