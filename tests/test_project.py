"""Promises of the project itself: small files, a tested lock, nothing that reports home."""

from __future__ import annotations

import ast
import configparser
import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.version import Version

from .conftest import ROOT, clean_environment

SOURCES = sorted((ROOT / "src").rglob("*.py"))
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
LOCK = (ROOT / "requirements.lock").read_text()
PAGES = (ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md")))
HEAVY = ("torch", "lightning", "mlflow", "optiland", "matplotlib", "skimage", "numba", "pandas")


def locked() -> dict[str, Version]:
    lines = [line for line in LOCK.splitlines() if line and not line.startswith("#")]
    pairs = [line.split("==") for line in lines]
    return {name.lower().replace("_", "-"): Version(version) for name, version in pairs}


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT / "src")))
def test_files_and_functions_are_short(path):
    text = path.read_text()
    assert len(text.splitlines()) <= 300
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef):
            body = node.body[1:] if ast.get_docstring(node) else node.body
            length = node.end_lineno - (body[0].lineno if body else node.end_lineno) + 1
            assert length <= 40, f"{path.name}: {node.name} has {length} lines"


def test_lock_holds_a_version_in_range_of_every_dependency():
    versions = locked()
    wanted = PROJECT["dependencies"] + PROJECT["optional-dependencies"]["dev"]
    for requirement in map(Requirement, wanted):
        if requirement.name != "rangefinder":
            version = versions[requirement.name.lower().replace("_", "-")]
            assert requirement.specifier.contains(version), requirement


def test_lock_is_free_of_hosts_gpu_builds_and_torchvision():
    assert "://" not in LOCK
    assert "--" not in LOCK
    assert not re.search(r"(?im)^(nvidia|triton|torchvision|torchaudio)", LOCK)
    assert "torch==2.13.0\n" in LOCK


def test_nothing_reports_home():
    assert yaml.safe_load((ROOT / ".telemetry").read_text()) == {"consent": False}
    dvc = configparser.ConfigParser()
    dvc.read(ROOT / ".dvc/config")
    assert {k.strip(): v for k, v in dvc["core"].items()}["analytics"] == "false"
    code = "import os, rangefinder.settings; print(dict(os.environ))"
    environment = {k: v for k, v in clean_environment().items() if "TELEMETRY" not in k}
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    seen = ast.literal_eval(done.stdout)
    assert seen["MLFLOW_DISABLE_TELEMETRY"] == "true"
    assert seen["KEDRO_DISABLE_TELEMETRY"] == "1"
    assert seen["DVC_NO_ANALYTICS"] == "1"
    assert seen["RAY_USAGE_STATS_ENABLED"] == "0"


def test_reading_the_project_imports_nothing_heavy():
    code = (
        "import sys, rangefinder.settings, rangefinder.datasets;"
        "import rangefinder.pipeline_registry as r;"
        "r.register_pipelines();"
        f"print([name for name in {HEAVY!r} if name in sys.modules])"
    )
    command = [sys.executable, "-c", code]
    done = subprocess.run(
        command, env=clean_environment(), capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"


def test_continuous_integration_runs_the_tests():
    script = ROOT / ".ci/run"
    assert os.access(script, os.X_OK)
    assert "make test" in script.read_text()


def test_licence_is_apache():
    assert PROJECT["license"] == "Apache-2.0"
    assert "Version 2.0, January 2004" in (ROOT / "LICENSE").read_text()


def anchors(page: Path) -> set[str]:
    """What GitHub lets a link point to in a page."""
    heads = re.findall(r"^#+ (.+)$", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", head.lower()).replace(" ", "-") for head in heads}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page):
    for link in re.findall(r"\]\(([^)\s]+)\)", page.read_text()):
        if "://" in link:
            continue
        name, _, anchor = link.partition("#")
        target = page.parent / name if name else page
        assert target.exists(), link
        assert not anchor or anchor in anchors(target), link


@pytest.mark.parametrize("layer", [f"{n:02d}" for n in range(1, 9)])
def test_data_has_all_layers(layer):
    assert list(Path(ROOT / "data").glob(f"{layer}_*"))


def test_the_calm_log_stays_calm_when_loud_libraries_are_imported():
    code = """
import logging.config, pathlib, yaml
logging.config.dictConfig(yaml.safe_load(pathlib.Path("conf/logging.yml").read_text()))
import lightning.pytorch, torch._dynamo
for name in (
    "lightning.pytorch.accelerators.cuda",
    "lightning.pytorch.utilities.rank_zero",
    "torch.utils._sympy.interp",
):
    print(logging.getLogger(name).getEffectiveLevel() >= logging.WARNING)
"""
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["True"] * 3
