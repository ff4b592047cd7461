"""The project: its lock file, licence, links and logging, light imports, and no telemetry."""

from __future__ import annotations

import ast
import configparser
import os
import re
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

from .conftest import ROOT, clean_environment

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
LOCKS = {path.name: path.read_text() for path in ROOT.glob("requirements*.lock")}
LOCK = LOCKS["requirements.lock"]
HEAVY = ("torch", "lightning", "mlflow", "optiland", "matplotlib", "skimage", "numba", "pandas")


def locked() -> dict[str, Version]:
    return {name: Version(version) for name, version in re.findall(r"(?m)^(\S+)==(\S+)", LOCK)}


def test_the_lock_has_a_version_in_range_of_every_dependency():
    versions = locked()
    needed = PROJECT["dependencies"] + PROJECT["optional-dependencies"]["dev"]
    for requirement in map(Requirement, needed):
        if requirement.name != "rangefinder":
            version = versions[canonicalize_name(requirement.name)]
            assert requirement.specifier.contains(version), requirement


def test_the_lock_has_no_hosts_gpu_builds_or_torchvision():
    assert all("://" not in text and "--index" not in text for text in LOCKS.values())
    assert not re.search(r"(?im)^(nvidia|triton|torchvision|torchaudio)", LOCK)
    assert "torch==2.13.0 " in LOCK


def test_every_locked_package_has_hashes():
    for name, text in LOCKS.items():
        blocks = re.findall(r"(?m)^\S+==.*(?:\n    .*)*", text)
        assert len(blocks) == len(re.findall(r"(?m)^[^ #\n]", text)), name
        for block in blocks:
            assert re.search(r"--hash=sha256:[0-9a-f]{64}( |$)", block, re.MULTILINE), block


def test_a_file_of_other_content_is_not_installed(tmp_path):
    name = next(line for line in LOCK.splitlines() if line.startswith("iniconfig=="))
    version = name.split()[0].partition("==")[2]
    wheel = tmp_path / f"iniconfig-{version}-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        folder = f"iniconfig-{version}.dist-info"
        archive.writestr(f"{folder}/METADATA", f"Name: iniconfig\nVersion: {version}\n")
        archive.writestr(f"{folder}/WHEEL", "Wheel-Version: 1.0\nTag: py3-none-any\n")
        archive.writestr(f"{folder}/RECORD", "")
    block = re.search(r"(?m)^iniconfig==.*(?:\n    .*)*", LOCK)
    (tmp_path / "lock.txt").write_text(block[0])
    pinned = re.search(r"(?m)^PINNED := (.*)$", (ROOT / "Makefile").read_text())[1].split()
    command = [sys.executable, "-m", "pip", "install", *pinned, "--isolated", "--dry-run"]
    command += ["--no-index", "--find-links", str(tmp_path), "--requirement", "lock.txt"]
    done = subprocess.run(
        [*command, "--ignore-installed"], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode != 0
    assert "DO NOT MATCH THE HASHES" in done.stderr


def test_make_takes_nothing_without_a_hash_but_this_project():
    rules = re.search(r"(?ms)^\$\(STAMP\):.*?\n\n", (ROOT / "Makefile").read_text())[0]
    installs = re.findall(r"pip install .*", rules)
    assert len(installs) == 5
    assert all("$(PINNED)" in line or "--no-deps" in line for line in installs)
    assert all("--no-build-isolation" in line for line in installs if "--editable" in line)


def test_telemetry_is_switched_off():
    assert yaml.safe_load((ROOT / ".telemetry").read_text()) == {"consent": False}
    dvc = configparser.ConfigParser()
    dvc.read(ROOT / ".dvc/config")
    assert {k.strip(): v for k, v in dvc["core"].items()}["analytics"] == "false"
    code = "import os, rangefinder.settings; print(dict(os.environ))"
    environment = {k: v for k, v in clean_environment().items() if "TELEMETRY" not in k}
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    variables = ast.literal_eval(done.stdout)
    assert variables["MLFLOW_DISABLE_TELEMETRY"] == "true"
    assert variables["KEDRO_DISABLE_TELEMETRY"] == "1"
    assert variables["DVC_NO_ANALYTICS"] == "1"
    assert variables["RAY_USAGE_STATS_ENABLED"] == "0"


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


@pytest.mark.parametrize("layer", [f"{n:02d}" for n in range(1, 9)])
def test_data_has_every_layer(layer):
    assert list(Path(ROOT / "data").glob(f"{layer}_*"))


def test_loud_libraries_do_not_log_below_warnings():
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
