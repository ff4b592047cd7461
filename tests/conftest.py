"""Shared fixtures: copies of the project, one with a finished smoke run; tiny models and photos.

Tests of faults put lines into a table, which is printed at the end: fault, tried, survived.
"""

from __future__ import annotations

import itertools
import os
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
import torch
from click.testing import CliRunner
from filelock import FileLock
from hypothesis import settings

from rangefinder.commands import main
from rangefinder.models.model_files import TrainedModel, save_model

from .tiny_camera import make_calibrated_model, save_models, save_photos

IN_PARALLEL = "PYTEST_XDIST_WORKER" in os.environ
if IN_PARALLEL:
    torch.set_num_threads(1)  # one process per core
settings.register_profile("no_deadline", deadline=None)
settings.load_profile("no_deadline")
COMMAND = "from rangefinder.commands import main; main(prog_name='rangefinder')"
PATIENCE_S = 300.0  # for a subprocess
ROOT = Path(__file__).resolve().parents[1]
_TOOLS = Path(sys.executable).parent
_FOLDERS = ("conf", "notebooks", "src")
_FILES = (".dvc/config", ".dvc/.gitignore", ".dvcignore", ".gitignore", ".telemetry", "dvc.yaml")
_NOT_COPIED = shutil.ignore_patterns("__pycache__", "*.egg-info", "local")
_BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
_OUTSIDE = ("MLFLOW_", "DVC_", "KEDRO_", "GIT_")


@dataclass(frozen=True)
class Project:
    """A copy of the project, apart from the one the tests come from."""

    folder: Path

    def run(
        self, *command: str, cwd: Path | None = None, check: bool = True, **variables: str
    ) -> subprocess.CompletedProcess[str]:
        """Run a command of the project as a user would, in its root unless `cwd` is given."""
        done = subprocess.run(
            command,
            cwd=cwd or self.folder,
            env=clean_environment() | variables,
            capture_output=True,
            text=True,
            check=False,
        )
        if check and done.returncode:
            pytest.fail(f"{' '.join(command)} gave {done.returncode}:\n{done.stdout}{done.stderr}")
        return done

    def stop(self, number: signal.Signals, when: str, *command: str) -> None:
        """Run a command and send it a signal once a file is there; no process of it is left.

        Args:
            number: The signal.
            when: The file, a pattern from the project's folder.
            command: As for `run`.
        """
        process = psutil.Popen(
            command,
            cwd=self.folder,
            env=clean_environment(),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        deadline = time.monotonic() + PATIENCE_S
        while not any(self.folder.glob(when)):
            assert process.poll() is None, "it ended before the signal"
            assert time.monotonic() < deadline, f"no {when} came"
            time.sleep(0.02)
        children = process.children(recursive=True)
        process.send_signal(number)
        assert process.wait(timeout=PATIENCE_S) != 0, "it ended before the signal"
        assert psutil.wait_procs(children, timeout=PATIENCE_S)[1] == []

    def git(self, *arguments: str) -> str:
        """Run git with an author."""
        author = ("-c", "user.name=Test", "-c", "user.email=test@example.org")
        return self.run("git", *author, *arguments).stdout

    @property
    def store(self) -> str:
        """Where MLflow should record."""
        return f"sqlite:///{self.folder / 'mlflow.db'}"


def clean_environment() -> dict[str, str]:
    """This process's environment with the tools of this Python and no settings of the caller."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith(_OUTSIDE)}
    return kept | {"PATH": f"{_TOOLS}{os.pathsep}{os.environ['PATH']}", "OMP_NUM_THREADS": "1"}


def program_environment() -> dict[str, str]:
    """`clean_environment` for `COMMAND`: with this code, and lines printed as they come."""
    kept = clean_environment()
    path = os.pathsep.join([str(ROOT / "src"), kept.get("PYTHONPATH", "")])
    return kept | {"PYTHONPATH": path, "PYTHONUNBUFFERED": "1"}


def copy_project(folder: Path) -> Project:
    """Copy the project's versioned parts to `folder` and commit them there."""
    for name in _FOLDERS:
        shutil.copytree(ROOT / name, folder / name, ignore=_NOT_COPIED)
    (folder / "conf/local").mkdir()
    files = [ROOT / name for name in (*_FILES, "pyproject.toml")]
    for source in (*files, *ROOT.glob("data/*/.git*")):
        target = folder / source.relative_to(ROOT)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(source, target)
    project = Project(folder)
    project.git("init", "--quiet")
    project.git("add", "--all")
    project.git("commit", "--quiet", "--message", "copy")
    return project


@dataclass(frozen=True)
class SmokeRun(Project):
    """A project in which the smoke chain has run, and what it printed."""

    output: str


@pytest.fixture(scope="session")
def smoke_run(tmp_path_factory: pytest.TempPathFactory) -> SmokeRun:
    """`kedro run --pipeline distill --env smoke`, once for all tests; tests do not change it."""
    home = tmp_path_factory.getbasetemp()
    if IN_PARALLEL:
        home = home.parent  # which all processes of these tests share
    folder, output = home / "smoke", home / "smoke.txt"
    with FileLock(home / "smoke.lock"):
        if not output.exists():
            done = copy_project(folder).run(
                "kedro", "run", "--pipeline", "distill", "--env", "smoke"
            )
            output.write_text(done.stdout + done.stderr)
    return SmokeRun(folder, output.read_text())


@pytest.fixture(scope="session")
def browser() -> Iterator[Any]:
    """A headless Chromium of this machine."""
    playwright = pytest.importorskip("playwright.sync_api", reason="rangefinder[browser] is needed")
    program = next(filter(None, map(shutil.which, _BROWSERS)), None)
    if program is None:
        pytest.skip("no Chromium is installed")
    with playwright.sync_playwright() as driver:
        chromium = driver.chromium.launch(executable_path=program, args=["--no-sandbox"])
        yield chromium
        chromium.close()


@pytest.fixture
def project(tmp_path: Path) -> Project:
    """A fresh copy of the project."""
    return copy_project(tmp_path / "project")


@pytest.fixture(scope="session")
def model_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder with `teacher` and `student` of the tiny camera, not trained."""
    return save_models(tmp_path_factory.mktemp("models"))


@dataclass(frozen=True)
class Exported:
    """A model of the tiny camera in a folder, and as a file; `said`: what the command printed."""

    model: TrainedModel
    folder: Path
    path: Path
    said: str


@pytest.fixture(
    scope="session", params=["teacher", pytest.param("student", marks=pytest.mark.slow)]
)
def exported(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Exported:
    """A calibrated model and its file, by the command."""
    model, folder = make_calibrated_model(request.param), tmp_path_factory.mktemp("exported")
    save_model(folder, model)
    path = folder / "model.onnx"
    ended = CliRunner().invoke(main, ["export", "--model", str(folder), "--out", str(path)])
    assert ended.exit_code == 0, ended.output
    return Exported(model, folder, path, ended.output)


@pytest.fixture
def photo_folder(tmp_path: Path) -> Path:
    """Folder with the photos a.tif, b.png and c.jpg of the tiny camera."""
    return save_photos(tmp_path / "photos")


@pytest.fixture
def generator() -> np.random.Generator:
    return np.random.default_rng(7)


@pytest.fixture
def survived(record_property: Callable[[str, object], None]) -> Callable[[str, int], None]:
    """Put a line into the table: a fault, and how often it was tried, and survived."""
    return lambda fault, tried: record_property("fault", (fault, tried))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print fault, tried, survived; tests that failed have no line, but say why above."""
    if "not faults" in terminalreporter.config.option.markexpr:
        return
    tried: Counter[str] = Counter()
    for report in itertools.chain(*terminalreporter.stats.values()):
        for name, value in getattr(report, "user_properties", ()):
            if name == "fault" and report.when == "call":
                tried[value[0]] += value[1]
    if tried:
        terminalreporter.section("faults")
        for fault, count in tried.items():
            terminalreporter.write_line(f"{count:9,} tried, {count:9,} survived   {fault}")
