"""Projects in which a run was disturbed, beside the same one undisturbed."""

from __future__ import annotations

import re
import shutil
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import psutil
from mlflow import MlflowClient
from mlflow.entities import Run

from ..conftest import Project, clean_environment, copy_project

RUN = ("kedro", "run", "--env", "smoke", "--pipeline", "distill")
STARTING_S = 1.0  # that a command is left alone
REPORT = "report.html"
QUIET = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}


def run_and_kill(project: Project, command: tuple[str, ...], after_s: float) -> bool:
    """Start a command, kill its process after a time, and wait for its children; was it killed?"""
    process = psutil.Popen(command, cwd=project.folder, env=clean_environment(), **QUIET)
    end = time.monotonic() + after_s
    children: dict[int, psutil.Process] = {}
    while process.poll() is None and time.monotonic() < end:
        children |= {child.pid: child for child in process.children(recursive=True)}
        time.sleep(0.05)
    killed = process.poll() is None
    if killed:
        children |= {child.pid: child for child in process.children(recursive=True)}
        process.kill()
    process.wait()
    assert psutil.wait_procs(children.values(), timeout=60)[1] == []
    return killed


def contents(project: Project) -> dict[str, bytes]:
    """Every file of the data; of the report, not its folder and what MLflow numbers as it comes."""
    folder = project.folder / "data"
    found = {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and not path.name.startswith((".git", ".lock"))
    }
    for name in found:
        if name.endswith(REPORT):
            text = found[name].decode().replace(str(project.folder), "")
            text = re.sub(r">[^<>]{0,200}\(run [0-9a-f]{8}, \d{4}-\d\d-\d\d\)", ">", text)
            text = re.sub(
                r"\b[0-9a-f]{32}\b|(?<=models:/rangefinder-(?:student|teacher)/)\d+", "", text
            )
            found[name] = text.encode()
    return found


def different(project: Project, other: Project) -> list[str]:
    """Names of files that are not in both, or not alike."""
    both = contents(project), contents(other)
    names = both[0].keys() | both[1].keys()
    return sorted(name for name in names if both[0].get(name) != both[1].get(name))


def runs(project: Project, name: str) -> list[Run]:
    """Runs whose names begin so, as MLflow has them, the last one first."""
    client = MlflowClient(project.store)
    every = client.search_runs(["1"], order_by=["attributes.start_time DESC"])
    return [run for run in every if run.info.run_name.startswith(name)]


def scores(run: Run) -> dict[str, float]:
    """What the models of a run scored."""
    found = {k: v for k, v in run.data.metrics.items() if k.startswith("evaluation/")}
    assert found
    return found


def require_nothing_lost(
    project: Project, expected: Project, name: str, before_ended: set[str]
) -> None:
    """Same files, same scores, and every run before the last one ended in one of these ways."""
    assert different(project, expected) == []
    last, *before = runs(project, name)
    assert last.info.status == "FINISHED"
    assert {run.info.status for run in before} <= before_ended
    assert scores(last) == scores(runs(expected, name)[0])


@dataclass(frozen=True)
class Original:
    """A project in which nothing has run, and a copy in which a command has run, undisturbed."""

    clean: Project
    ended: Project
    duration_s: float

    @classmethod
    def of(cls, folder: Path, command: tuple[str, ...]) -> Original:
        """Make both in a folder, with smoke as DVC's environment, and run the command."""
        clean = copy_project(folder / "clean")
        stages = (clean.folder / "dvc.yaml").read_text()
        (clean.folder / "dvc.yaml").write_text(stages.replace("- env: default", "- env: smoke"))
        clean.git("commit", "--quiet", "--all", "--message", "smoke")
        ended = copy_of(clean, folder / "ended")
        begin = time.monotonic()
        ended.run(*command)
        return cls(clean, ended, time.monotonic() - begin)

    def kill_until_whole(
        self, folder: Path, command: tuple[str, ...], kills: int, seed: int
    ) -> Project:
        """In a new copy, kill a command so often at random moments, then let it end."""
        project, killed = copy_of(self.clean, folder), 0
        generator = np.random.default_rng(seed)
        while killed < kills:
            after_s = generator.uniform(STARTING_S, self.duration_s)
            killed += run_and_kill(project, command, after_s)
        project.run(*command)
        return project


def copy_of(project: Project, folder: Path) -> Project:
    """A copy of a project with its commits."""
    shutil.copytree(project.folder, folder)
    return Project(folder)
