"""One run at a time writes in a project; a stopped stage leaves what was there, and no orphan."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from rangefinder.captures.images import write_linear
from rangefinder.captures.manifest import read_captures
from rangefinder.models.model_files import load_model

from ..conftest import Project, SmokeRun, clean_environment
from ..faults.disturbed import RUN as WHOLE
from ..faults.disturbed import different

HOLD = """
import sys
from pathlib import Path
from rangefinder.config.project import Project
with Project(Path(sys.argv[1])).writing():
    print("held", flush=True)
    sys.stdin.readline()
"""
RUN = ("kedro", "run", "--env", "smoke", "--pipeline", "report")
RANGEFINDER = "from rangefinder.commands import main; main(prog_name='rangefinder')"
REPORT = "data/08_reporting/report.html"
TEACHER = "data/06_models/teacher"
Start = Callable[..., subprocess.Popen[str]]


@pytest.fixture
def copy(smoke_run: SmokeRun, tmp_path: Path) -> Project:
    """A copy of the smoke project."""
    shutil.copytree(smoke_run.folder, tmp_path / "project")
    return Project(tmp_path / "project")


@pytest.fixture
def start(copy: Project) -> Iterator[Start]:
    """Starts processes in the project; none is left."""
    running = []

    def begin(*command: str) -> subprocess.Popen[str]:
        pipes = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.PIPE)
        where = {"cwd": copy.folder, "env": clean_environment()}
        running.append(subprocess.Popen(command, text=True, **pipes, **where))
        return running[-1]

    yield begin
    for process in running:
        process.kill()
        process.communicate()


@pytest.fixture
def holder(copy: Project, start: Start) -> subprocess.Popen[str]:
    """Another process that holds the project."""
    process = start(sys.executable, "-c", HOLD, str(copy.folder))
    assert process.stdout.readline() == "held\n"
    return process


def until_it_waits(process: subprocess.Popen[str], holder: subprocess.Popen[str]) -> None:
    said = ""
    while "waiting" not in said:
        line = process.stderr.readline()
        assert line, said
        said += line
    assert f"process {holder.pid} on" in said


def test_a_second_run_waits_for_the_first_before_it_does_anything(copy, start, holder):
    (copy.folder / REPORT).unlink()
    waiting = start(*RUN)
    until_it_waits(waiting, holder)
    assert waiting.poll() is None
    assert not (copy.folder / REPORT).exists()
    holder.communicate("go\n")
    waiting.communicate()
    assert waiting.returncode == 0
    assert (copy.folder / REPORT).exists()
    assert not (copy.folder / "data/project.holder").exists()


@pytest.mark.faults
@pytest.mark.parametrize("other", ["run", "promotion", "adapt"])
def test_two_at_once_take_turns(copy, smoke_run, start, other, survived):
    captures = read_captures(copy.folder / "data/02_intermediate/captures")
    (copy.folder / "new").mkdir()
    for index in range(2):
        mirrored = captures.select(role="unlabelled").image(index).flip(2)
        write_linear(copy.folder / f"new/{index}.tif", mirrored)
    python = (sys.executable, "-c", RANGEFINDER)
    others = {
        "run": WHOLE,
        "promotion": ("kedro", "run", "--env", "smoke", "--pipelines", "promotion,report"),
        "adapt": (*python, "adapt", "new", "--env", "smoke"),
    }
    both = [start(*WHOLE), start(*others[other])]
    said = [process.communicate()[1] for process in both]
    assert [process.returncode for process in both] == [0, 0], said
    assert sum("waiting" in one for one in said) == 1
    copy.run(*python, "fsck", "--env", "smoke")
    if other == "run":
        assert different(copy, smoke_run) == []
    survived("two commands at once", 1)


@pytest.mark.faults
def test_ctrl_c_while_waiting_ends_without_a_traceback_and_measuring_needs_no_lock(
    copy, start, holder
):
    waiting = start(*RUN)
    until_it_waits(waiting, holder)
    photo = next(copy.folder.glob("data/02_intermediate/captures/images/*.tif"))
    command = ("measure", str(photo), "--json", "--force", "--model", "data/06_models/student")
    measured = copy.run(sys.executable, "-c", RANGEFINDER, *command)
    student = load_model(copy.folder / "data/06_models/student")
    assert json.loads(measured.stdout)["model"] == student.fingerprint
    waiting.send_signal(signal.SIGINT)
    _, said = waiting.communicate()
    assert waiting.returncode not in (0, None)
    assert "Traceback" not in said
    assert holder.poll() is None


@pytest.mark.faults
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_a_killed_repro_leaves_the_former_teacher_and_no_stage_that_writes(copy, number):
    stages = (copy.folder / "dvc.yaml").read_text()
    (copy.folder / "dvc.yaml").write_text(stages.replace("- env: default", "- env: smoke"))
    copy.run("dvc", "commit", "--force", "--with-deps", "teacher_training")
    parameters = copy.folder / "conf/smoke/parameters.yml"
    before = load_model(copy.folder / TEACHER).fingerprint
    longer = parameters.read_text()
    for short, long in (("steps_per_epoch: 20", "40"), ("max_epochs: 2", "12")):
        longer = longer.replace(short, f"{short.partition(':')[0]}: {long}", 1)
    parameters.write_text(longer.replace("patience_epochs: 2", "patience_epochs: 12", 1))
    command = ("dvc", "repro", "teacher_training")
    copy.stop(number, "data/06_models/checkpoints/teacher/last.ckpt", *command)
    assert load_model(copy.folder / TEACHER).fingerprint == before
    said = copy.run(*command).stdout
    assert "Running stage 'teacher_training'" in said
    assert load_model(copy.folder / TEACHER).fingerprint != before
