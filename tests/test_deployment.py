"""The image, the workflow and the wheel: what they promise, and that they do it."""

from __future__ import annotations

import json
import re
import shutil
import socket
import subprocess
import sys
import sysconfig
import time
import tomllib
import urllib.request
from pathlib import Path

import pytest
import yaml
from docker.utils.build import exclude_paths
from packaging.specifiers import SpecifierSet

from rangefinder.commands.serve import serve

from .conftest import PATIENCE_S, ROOT, Project, SmokeRun, clean_environment

DOCKERFILE = (ROOT / "Dockerfile").read_text()
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
WORKFLOW = yaml.safe_load((ROOT / ".github/workflows/checks.yml").read_text())
TESTED = WORKFLOW["jobs"]["test"]["strategy"]["matrix"]["python"]
NEEDED = ("LICENSE", "README.md", "conf", "pyproject.toml", "requirements.lock", "src")


def words_of(instruction: str) -> list[str]:
    """Words of a command that the Dockerfile gives as a list."""
    return json.loads(re.search(rf"^{instruction}.*?(\[.*\])$", DOCKERFILE, re.MULTILINE)[1])


def test_the_readme_promises_the_pythons_that_are_tested():
    *others, last = TESTED
    assert f"Python {', '.join(others)} or {last}" in (ROOT / "README.md").read_text()
    allowed = SpecifierSet(PROJECT["requires-python"])
    assert [f"3.{minor}" for minor in range(30) if f"3.{minor}" in allowed] == TESTED
    assert re.search(r"^FROM python:([\d.]+)-", DOCKERFILE, re.MULTILINE)[1] in TESTED


def test_the_workflow_runs_the_commands_of_the_makefile():
    targets = re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
    steps = [step for job in WORKFLOW["jobs"].values() for step in job["steps"]]
    made = [step["run"].split()[1] for step in steps if step.get("run", "").startswith("make ")]
    assert made == ["test", "test-slow", "test-faults"]
    assert set(made) <= set(targets)


def test_the_image_takes_code_and_configuration_and_nothing_private(tmp_path):
    places = [
        *("conf/base/parameters.yml", "conf/local/.gitkeep", "src/rangefinder/cli.py"),
        *("LICENSE", "README.md", "pyproject.toml", "requirements.lock"),
    ]
    left = [
        *("conf/local/parameters.yml", "conf/local/credentials.yml", "data/01_raw/photo.tif"),
        *("src/rangefinder/__pycache__/cli.pyc", ".venv/bin/python", ".git/config", "mlflow.db"),
    ]
    for place in (*places, *left):
        (tmp_path / place).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / place).touch()
    lines = (ROOT / ".dockerignore").read_text().splitlines()
    patterns = [line for line in lines if line and not line.startswith("#")]
    taken = {path for path in exclude_paths(tmp_path, patterns) if (tmp_path / path).is_file()}
    assert taken == set(places)


def test_the_image_is_no_root_and_asks_the_server_that_it_starts():
    user = re.findall(r"^USER (\S+)", DOCKERFILE, re.MULTILINE)[-1]
    assert user not in ("root", "0")
    (port,) = {option.default for option in serve.params if option.name == "port"}
    assert f"EXPOSE {port}\n" in DOCKERFILE
    assert f"127.0.0.1:{port}/healthz" in words_of("HEALTHCHECK")[-1]


@pytest.mark.slow
def test_the_command_of_the_image_serves_and_its_health_check_notices(smoke_run: SmokeRun):
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = str(free.getsockname()[1])
    check = [word.replace("8000", port) for word in words_of("HEALTHCHECK")]

    def healthy() -> bool:
        return smoke_run.run(*check, check=False).returncode == 0

    assert not healthy()
    command = words_of("CMD")
    assert command[0] == "rangefinder"
    program = "from rangefinder.commands import main; main()"
    words = [sys.executable, "-c", program, *command[1:], "--port", port]
    environment = clean_environment()
    server = subprocess.Popen(words, cwd=smoke_run.folder, env=environment)
    try:
        deadline = time.monotonic() + PATIENCE_S
        while not healthy():
            assert server.poll() is None
            assert time.monotonic() < deadline
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/v1/model") as answer:
            assert json.load(answer)["card"]["camera"]["name"] == "smoke"
    finally:
        server.terminate()
        assert server.wait(timeout=PATIENCE_S) == 0


@pytest.fixture(scope="module")
def packaged(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """An empty folder with the packed configuration, beside a fresh environment with the wheel.

    Only the wheel is installed there: the other packages are those of this Python.
    """
    folder = tmp_path_factory.mktemp("packaged")
    source, empty = Project(folder / "source"), Project(folder / "empty")
    for name in ("conf", "src"):
        ignored = shutil.ignore_patterns("*.egg-info", "__pycache__")
        shutil.copytree(ROOT / name, source.folder / name, ignore=ignored)
    for name in ("LICENSE", "README.md", "pyproject.toml"):
        shutil.copy(ROOT / name, source.folder)
    source.run("kedro", "package")
    (wheel,) = source.folder.glob("dist/*.whl")
    (configuration,) = source.folder.glob("dist/*.tar.gz")
    source.run(sys.executable, "-m", "venv", "../venv")
    (packages,) = folder.glob("venv/lib/*/site-packages")
    (packages / "dependencies.pth").write_text(sysconfig.get_path("purelib"))
    source.run("../venv/bin/pip", "install", "--no-deps", "--no-index", str(wheel))
    empty.folder.mkdir()
    empty.run("tar", "--extract", "--gzip", "--file", str(configuration))
    shutil.rmtree(source.folder)  # so that nothing is read from there
    return empty


def run_packaged(project: Project, *command: str) -> str:
    """What a command of the fresh environment prints."""
    tools = f"{project.folder.parent / 'venv/bin'}:/usr/bin:/bin"
    done = project.run(*command, PATH=tools, PYTHONPATH="")
    return done.stdout + done.stderr


@pytest.mark.slow
def test_the_wheel_trains_and_measures_without_the_sources(packaged: Project):
    place = run_packaged(
        packaged, "python", "-c", "import rangefinder; print(rangefinder.__file__)"
    )
    assert Path(place).is_relative_to(packaged.folder.parent / "venv")
    said = run_packaged(
        packaged, "python", "-m", "rangefinder", "--pipelines", "distill", "--env", "smoke"
    )
    assert "AbsRel student/constant" in said
    assert "Loading data" not in said  # logs are as calm as those of `kedro run`
    photo = next(packaged.folder.glob("data/02_intermediate/captures/images/*"))
    said = run_packaged(packaged, "rangefinder", "measure", str(photo), "--html", "--at", "60,45")
    assert "80% interval" in said
    assert "Traceback" not in said
    assert list(packaged.folder.glob("measured/*view.html"))
    said = run_packaged(packaged, "rangefinder", "lineage", "models:/rangefinder-student@candidate")
    assert re.search(r"^teacher +\w", said, re.MULTILINE)
