"""A training that was killed resumes from its checkpoint, if it is the same training."""

import os
import signal
import subprocess
import sys
import time

import pytest

from rangefinder.captures.manifest import read_captures
from rangefinder.config import Parameters
from rangefinder.models.model_files import load_model
from rangefinder.training.assembly import train_teacher
from rangefinder.training.checkpoints import LAST, read_checkpoint

from ..small_training import same_weights

SCRIPT = """
import sys
from pathlib import Path
from rangefinder.captures.manifest import read_captures
from rangefinder.config import Parameters
from rangefinder.models.model_files import save_model
from rangefinder.training.assembly import train_teacher

folder = Path(sys.argv[1])
params = Parameters.model_validate_json((folder / "params.json").read_text())
teacher = train_teacher(read_captures(Path(sys.argv[2])), params, folder / "ckpt", None)
save_model(folder / "teacher", teacher)
"""


def start(folder, captures):
    arguments = [sys.executable, "-c", SCRIPT, str(folder), str(captures.folder)]
    return subprocess.Popen(arguments, stderr=subprocess.PIPE, text=True)


def kill_after_first_epoch(folder, captures):
    process, last = start(folder, captures), folder / "ckpt" / LAST
    deadline = time.monotonic() + 120
    while not last.exists() and time.monotonic() < deadline:
        assert process.poll() is None, process.stderr.read()
        time.sleep(0.005)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    assert last.exists()


@pytest.fixture
def long_run(tmp_path, params):
    def prepare(**changes):
        teacher = params.teacher.model_copy(update={"max_epochs": 30, **changes})
        params_file = params.model_copy(update={"teacher": teacher})
        (tmp_path / "params.json").write_text(params_file.model_dump_json())
        return tmp_path

    return prepare


def test_a_killed_training_resumes_and_ends_as_if_never_killed(long_run, captures):
    folder = long_run()
    kill_after_first_epoch(folder, captures)
    reached = read_checkpoint(folder / "ckpt" / LAST)["epoch"]
    assert reached < 29
    process = start(folder, captures)
    assert process.wait(timeout=240) == 0
    params = Parameters.model_validate_json((folder / "params.json").read_text())
    never_killed = train_teacher(read_captures(captures.folder), params, folder / "other", None)
    assert same_weights(load_model(folder / "teacher"), never_killed)


def test_a_killed_training_of_other_parameters_is_not_resumed(long_run, captures):
    kill_after_first_epoch(long_run(), captures)
    folder = long_run(learning_rate=1e-4, max_epochs=1)
    process = start(folder, captures)
    assert process.wait(timeout=240) == 0
    params = Parameters.model_validate_json((folder / "params.json").read_text())
    fresh = train_teacher(captures, params, folder / "fresh", None)
    assert same_weights(load_model(folder / "teacher"), fresh)
