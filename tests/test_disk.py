"""A disk that takes no more, or gives nothing: one message, nothing half-written.

The kernel's limit on file sizes stands for the full disk: every write beyond it fails as there.
"""

from __future__ import annotations

import os
import resource
import shutil
import signal
import tempfile
from contextlib import contextmanager
from pathlib import Path

import pytest
from click.testing import CliRunner

from rangefinder.cache.fill import fill_cache
from rangefinder.captures.manifest import read_captures, write_captures
from rangefinder.commands.main import main
from rangefinder.models.io import save_model

from .cache.conftest import CAMERA, PARAMS, make_photo, make_teacher
from .deploy.conftest import models, photos  # noqa: F401

NOBODY = 65534


@contextmanager
def full_disk(limit_bytes: int):
    """No file grows beyond a limit."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit_bytes, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)


@contextmanager
def somebody():
    """The superuser, who may do everything, acts as nobody for a while."""
    is_root = os.geteuid() == 0
    if is_root:
        os.seteuid(NOBODY)
    try:
        yield
    finally:
        if is_root:
            os.seteuid(0)


@pytest.fixture
def shared(models, photos):  # noqa: F811
    """A folder that everybody may enter, with a model and a photo."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        shutil.copytree(models / "student", folder / "student")
        shutil.copy(photos / "b.png", folder / "b.png")
        for path in (folder, folder / "student", *(folder / "student").iterdir()):
            path.chmod(0o755)
        yield folder


def measured(folder: Path, out: Path):
    arguments = ["measure", folder / "b.png", "--model", folder / "student", "--out", out]
    with somebody():
        return CliRunner().invoke(main, [str(argument) for argument in arguments])


def test_a_photo_that_may_not_be_read_is_named(shared):
    (shared / "b.png").chmod(0)
    done = measured(shared, shared / "out")
    assert done.exit_code == 2, done.output
    assert "b.png cannot be opened (Permission denied)" in done.output
    assert done.output.count("\n") == 1


def test_a_folder_that_may_not_be_written_is_named(shared):
    (shared / "locked").mkdir(mode=0o555)
    done = measured(shared, shared / "locked/out")
    assert done.exit_code == 1, done.output
    assert "locked" in done.output
    assert "Permission denied" in done.output


def test_models_may_be_read_by_those_who_may_read_the_folder(tmp_path):
    save_model(tmp_path, make_teacher())
    other = tmp_path / "other"
    other.touch()
    assert {path.stat().st_mode for path in tmp_path.iterdir()} == {other.stat().st_mode}


def test_a_model_that_may_not_be_read_is_named(shared):
    (shared / "student/card.json").chmod(0)
    (shared / "out").mkdir()
    done = measured(shared, shared / "out")
    assert done.exit_code == 2, done.output
    assert "no readable model in" in done.output
    assert files(shared / "out") == {}


def files(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def test_measuring_leaves_no_half_map(models, photos, tmp_path):  # noqa: F811
    out = tmp_path / "out"
    arguments = ["measure", str(photos / "b.png"), "--model", str(models / "student")]
    with full_disk(500):
        done = CliRunner().invoke(main, [*arguments, "--out", str(out)])
    assert done.exit_code == 1, done.output
    assert done.output.count("\n") == 1
    assert files(out) == {}
    assert CliRunner().invoke(main, [*arguments, "--out", str(out)]).exit_code == 0
    assert len(files(out)) == 3


def test_captures_that_were_there_stay_whole(tmp_path):
    write_captures(tmp_path / "set", CAMERA, map(make_photo, range(3)))
    before = files(tmp_path)
    with full_disk(5_000), pytest.raises(OSError, match="File too large"):
        write_captures(tmp_path / "set", CAMERA, map(make_photo, range(3, 9)))
    assert files(tmp_path) == before
    assert len(read_captures(tmp_path / "set")) == 3


def test_a_sweep_goes_on_once_there_is_room(tmp_path):
    captures = write_captures(tmp_path / "set", CAMERA, map(make_photo, range(6)))
    teacher = make_teacher()
    wanted = fill_cache(teacher, captures, PARAMS, tmp_path / "wanted")
    with full_disk(1_000), pytest.raises(OSError, match="large"):
        fill_cache(teacher, captures, PARAMS, tmp_path / "cache")
    assert files(tmp_path / "cache") == {}
    fill_cache(teacher, captures, PARAMS, tmp_path / "cache")
    assert files(tmp_path / "cache") == files(wanted.folder)


def test_a_model_that_was_there_stays_whole(tmp_path):
    save_model(tmp_path / "model", make_teacher())
    before = files(tmp_path)
    with full_disk(2_000), pytest.raises(OSError, match="large"):
        save_model(tmp_path / "model", make_teacher(weights=4))
    assert files(tmp_path) == before
