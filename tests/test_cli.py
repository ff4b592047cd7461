"""`kedro run` ends on errors of users and disks with a message, on bugs with a traceback."""

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
    ("change", "words"),
    [
        ("camera.f_number=-1", ["camera.f_number", "-1"]),
        ("teacher.chanels=3", ["teacher.chanels: unknown key (value 3)", "allowed here", "blocks"]),
    ],
)
def test_a_wrong_parameter_ends_in_one_message(unrun, change, words):
    done = unrun.run("kedro", "run", "--params", change, check=False)
    output = done.stdout + done.stderr
    assert done.returncode == 1
    assert "Traceback" not in output
    for word in (*words, "conf/<env>/parameters.yml"):
        assert word in output
    assert not (unrun.folder / "mlflow.db").exists()


def test_a_missing_input_is_named_with_the_remedy(unrun):
    command = ("kedro", "run", "--pipeline", "teacher_training", "--env", "smoke")
    done = unrun.run(*command, cwd=unrun.folder / "src", check=False)
    output = done.stdout + done.stderr
    assert done.returncode == 1
    assert "Traceback" not in output
    assert "deprecated" not in output
    for word in ("'captures'", "'train_teacher'", "no set of captures", "Run ingestion"):
        assert word in output


def test_errors_of_users_and_disks_become_messages_and_bugs_stay(tmp_path):
    import click

    @click.pass_obj
    def command(bug: Exception, text: str) -> None:
        if text == "full":
            with full_disk(1000):
                try:
                    write_map(tmp_path / "a.tif", torch.zeros(50, 50))
                except OSError as error:
                    raise DatasetError("captures: not saved") from error
        raise CaptureError("bad photo") if text == "expected" else bug

    wrapped = click.Command("try", params=[click.Argument(["text"])], callback=plainly(command))
    expected = CliRunner().invoke(wrapped, ["expected"])
    assert (expected.exit_code, expected.output) == (1, "Error: bad photo.\n")
    full = CliRunner().invoke(wrapped, ["full"])
    assert (full.exit_code, full.output) == (
        1,
        "Error: [Errno 27] File too large\n"
        "Make room, then run the same command again: it goes on.\n",
    )
    for bug in (ZeroDivisionError("bug"), FileNotFoundError(errno.ENOENT, "bug")):
        assert CliRunner().invoke(wrapped, ["bug"], obj=bug).exception is bug
