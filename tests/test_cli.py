"""`kedro run`: what a user sees when something is wrong."""

from __future__ import annotations

import errno

import pytest
import torch
from click.testing import CliRunner
from kedro.io import DatasetError

from rangefinder.captures.images import write_map
from rangefinder.cli import plainly
from rangefinder.errors import CaptureError

from .conftest import Project, copy_project
from .test_disk import full_disk


@pytest.fixture(scope="module")
def unrun(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A project in which nothing has run."""
    return copy_project(tmp_path_factory.mktemp("unrun") / "project")


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ("camera.f_number=-1", ["camera.f_number", "-1"]),
        ("teacher.chanels=3", ["teacher.chanels: unknown key (value 3)", "allowed here", "blocks"]),
    ],
)
def test_wrong_parameter_ends_in_one_clean_message(unrun, change, told):
    done = unrun.run("kedro", "run", "--params", change, check=False)
    said = done.stdout + done.stderr
    assert done.returncode == 1
    assert "Traceback" not in said
    for words in (*told, "conf/<env>/parameters.yml"):
        assert words in said
    assert not (unrun.folder / "mlflow.db").exists()


def test_missing_input_names_the_dataset_and_the_cure(unrun):
    command = ("kedro", "run", "--pipeline", "teacher_training", "--env", "smoke")
    done = unrun.run(*command, cwd=unrun.folder / "src", check=False)
    said = done.stdout + done.stderr
    assert done.returncode == 1
    assert "Traceback" not in said
    assert "deprecated" not in said
    for words in ("'captures'", "'train_teacher'", "no set of captures", "Run ingestion"):
        assert words in said


def test_errors_of_ours_and_of_disks_become_messages_and_others_stay(tmp_path):
    import click

    @click.pass_obj
    def command(bug: Exception, text: str) -> None:
        if text == "full":
            with full_disk(1000):
                try:
                    write_map(tmp_path / "a.tif", torch.zeros(50, 50))
                except OSError as error:
                    raise DatasetError("captures: not saved") from error
        raise CaptureError("bad photo") if text == "ours" else bug

    wrapped = click.Command("try", params=[click.Argument(["text"])], callback=plainly(command))
    ours = CliRunner().invoke(wrapped, ["ours"])
    assert (ours.exit_code, ours.output) == (1, "Error: bad photo.\n")
    full = CliRunner().invoke(wrapped, ["full"])
    assert (full.exit_code, full.output) == (1, "Error: [Errno 27] File too large\n")
    for theirs in (ZeroDivisionError("theirs"), FileNotFoundError(errno.ENOENT, "theirs")):
        assert CliRunner().invoke(wrapped, ["theirs"], obj=theirs).exception is theirs
