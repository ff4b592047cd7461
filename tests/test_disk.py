"""A full disk or missing permissions end in one message, and no file is half-written.

The kernel's limit on file sizes stands for the full disk.
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
from rangefinder.commands import main
from rangefinder.models.model_files import save_model

from .cache.conftest import CAMERA, PARAMS, make_photo, make_teacher
from .tiny_camera import save_photos

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
def without_privileges():
    """The superuser acts as nobody for a while."""
    is_root = os.geteuid() == 0
    if is_root:
        os.seteuid(NOBODY)
    try:
        yield
    finally:
        if is_root:
            os.seteuid(0)


@pytest.fixture
def shared(model_folder, photo_folder):
    """A folder that every user may enter, with a model and a photo."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        shutil.copytree(model_folder / "student", folder / "student")
        shutil.copy(photo_folder / "b.png", folder / "b.png")
        for path in (folder, folder / "student", *(folder / "student").iterdir()):
            path.chmod(0o755)
        yield folder


def measure(folder: Path, out: Path):
    arguments = ["measure", folder / "b.png", "--model", folder / "student", "--out", out]
    with without_privileges():
        return CliRunner().invoke(main, [str(argument) for argument in arguments])


@pytest.fixture(scope="module", autouse=True)
def modules_imported(model_folder, tmp_path_factory):
    """Measure once, since without privileges no module could be imported from a home folder."""
    photos = save_photos(tmp_path_factory.mktemp("first") / "photos")
    arguments = ["measure", photos / "b.png", "--model", model_folder / "student"]
    done = CliRunner().invoke(main, [*map(str, arguments), "--out", str(photos / "out")])
    assert done.exit_code == 0, done.output


@pytest.mark.fault_injection
def test_a_photo_without_read_permission_is_named(shared, survived):
    (shared / "b.png").chmod(0)
    done = measure(shared, shared / "out")
    assert done.exit_code == 2, done.output
    assert "b.png cannot be opened (Permission denied)" in done.output
    assert done.output.count("\n") == 1
    survived("file of another owner", 1)


@pytest.mark.fault_injection
def test_a_folder_without_write_permission_is_named(shared, survived):
    (shared / "locked").mkdir(mode=0o555)
    done = measure(shared, shared / "locked/out")
    assert done.exit_code == 1, done.output
    assert "locked" in done.output
    assert "Permission denied" in done.output
    survived("folder that is read-only", 1)


def test_saved_models_have_the_permissions_of_other_new_files(tmp_path):
    save_model(tmp_path, make_teacher())
    other = tmp_path / "other"
    other.touch()
    assert {path.stat().st_mode for path in tmp_path.iterdir()} == {other.stat().st_mode}


@pytest.mark.fault_injection
def test_a_model_without_read_permission_is_named(shared, survived):
    (shared / "student/card.json").chmod(0)
    (shared / "out").mkdir()
    done = measure(shared, shared / "out")
    assert done.exit_code == 2, done.output
    assert "no readable model in" in done.output
    assert files(shared / "out") == {}
    survived("file of another owner", 1)


def files(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


@pytest.mark.fault_injection
def test_measuring_on_a_full_disk_leaves_no_partial_map(
    model_folder, photo_folder, tmp_path, survived
):
    out = tmp_path / "out"
    arguments = ["measure", str(photo_folder / "b.png"), "--model", str(model_folder / "student")]
    with full_disk(500):
        done = CliRunner().invoke(main, [*arguments, "--out", str(out)])
    assert done.exit_code == 1, done.output
    assert done.output.count("\n") == 1
    assert files(out) == {}
    assert CliRunner().invoke(main, [*arguments, "--out", str(out)]).exit_code == 0
    assert len(files(out)) == 3
    survived("disk full: maps of a photo", 1)


@pytest.mark.fault_injection
def test_captures_on_a_full_disk_keep_the_former_set(tmp_path, survived):
    write_captures(tmp_path / "set", CAMERA, map(make_photo, range(3)))
    before = files(tmp_path)
    with full_disk(5_000), pytest.raises(OSError, match="File too large"):
        write_captures(tmp_path / "set", CAMERA, map(make_photo, range(3, 9)))
    assert files(tmp_path) == before
    assert len(read_captures(tmp_path / "set")) == 3
    survived("disk full: captures", 1)


@pytest.mark.fault_injection
def test_a_sweep_stopped_by_a_full_disk_resumes(tmp_path, survived):
    captures = write_captures(tmp_path / "set", CAMERA, map(make_photo, range(6)))
    teacher = make_teacher()
    expected = fill_cache(teacher, captures, PARAMS, tmp_path / "expected")
    with full_disk(1_000), pytest.raises(OSError, match="large"):
        fill_cache(teacher, captures, PARAMS, tmp_path / "cache")
    assert files(tmp_path / "cache") == {}
    fill_cache(teacher, captures, PARAMS, tmp_path / "cache")
    assert files(tmp_path / "cache") == files(expected.folder)
    survived("disk full: teacher cache", 1)


@pytest.mark.fault_injection
def test_saving_a_model_on_a_full_disk_keeps_the_former_one(tmp_path, survived):
    save_model(tmp_path / "model", make_teacher())
    before = files(tmp_path)
    with full_disk(2_000), pytest.raises(OSError, match="large"):
        save_model(tmp_path / "model", make_teacher(weights=4))
    assert files(tmp_path) == before
    survived("disk full: model", 1)
