"""The pipelines: inputs and outputs of each, sections of the parameters, and the chain."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import yaml
from kedro.io import DataCatalog, MemoryDataset

from rangefinder.config import Parameters
from rangefinder.hooks import ParameterHook
from rangefinder.pipeline_registry import register_pipelines

from ..conftest import ROOT

NAMES = ["ingestion", "teacher_training", "patch_caching", "student_distillation", "evaluation"]
NAMES += ["report"]
AFTER = ["export", "promotion", "drift"]
STUDIES = ["ablation", "benchmark", "cache_audit"]
SCORES = {"evaluation", "metrics", "per_image", "figures"}
SCORES |= {"error_by_distance", "reliability", "risk_coverage"}
MAY_BE_MISSING = {"promotion", "ablation", "ablation_figure", "benchmark", "benchmark_figure"}
LAYERS = ["raw", "captures", "teacher", "teacher cache", "student", "results"]
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


def test_data_flow_down_the_layers(pipelines):
    """Else Kedro-Viz shows no layers."""
    catalog = yaml.safe_load((ROOT / "conf/base/catalog.yml").read_text())
    layer = {
        name: LAYERS.index(entry["metadata"]["kedro-viz"]["layer"])
        for name, entry in catalog.items()
        if not name.startswith("_") and "kedro-viz" in entry.get("metadata", {})
    }
    working = {name for name in catalog if name.startswith("_")} | FOLDERS | {"ablation_folder"}
    assert set(catalog) - working <= set(layer)
    for pipeline in pipelines.values():
        for node in pipeline.nodes:
            above = [layer[name] for name in node.inputs if name in layer]
            below = [layer[name] for name in node.outputs if name in layer]
            assert max(above, default=0) <= min(below), node.name


def data_inputs(pipeline):
    return {name for name in pipeline.inputs() if not name.startswith("param")}


def test_distill_needs_nothing_but_parameters_and_working_folders(pipelines):
    assert data_inputs(pipelines["distill"]) - MAY_BE_MISSING == FOLDERS


def test_only_studies_take_all_parameters(pipelines):
    takers = {name for name, p in pipelines.items() if "parameters" in p.inputs()}
    assert takers == {"benchmark", "ablation"}


@pytest.fixture(scope="module")
def catalog():
    hook, raw = ParameterHook(), Parameters(seed=3).model_dump()
    sections = {f"params:{name}": value for name, value in raw.items()}
    catalog = DataCatalog(
        {name: MemoryDataset(value) for name, value in {"parameters": raw, **sections}.items()}
    )
    hook.after_context_created(SimpleNamespace(config_loader={"parameters": raw}))
    hook.after_catalog_created(catalog)
    return catalog


@pytest.mark.parametrize("name", [*NAMES, "promotion", "drift"])
def test_sections_exist_and_reach_the_nodes_typed(pipelines, catalog, name):
    for node in pipelines[name].nodes:
        for section in (x for x in node.inputs if x.startswith("params:")):
            expected = getattr(Parameters(seed=3), section.removeprefix("params:"))
            assert catalog.load(section) == expected
            assert type(catalog.load(section)) is type(expected)


def test_all_parameters_reach_studies_typed(catalog):
    assert catalog.load("parameters") == Parameters(seed=3)


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
        (
            "report",
            {"captures", "student", "evaluation", "per_image", "figures"} | MAY_BE_MISSING,
            {"report"},
        ),
        ("drift", {"student"}, {"drift", "drift_page"}),
    ],
)
def test_inputs_and_outputs_of_each_pipeline(pipelines, name, takes, leaves):
    assert data_inputs(pipelines[name]) - FOLDERS == takes
    assert pipelines[name].outputs() == leaves
