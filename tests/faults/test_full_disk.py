"""A disk that is full in the middle of a run: one message, and afterwards the run goes on."""

from __future__ import annotations

import shutil
import subprocess

import pytest

from ..conftest import Project, clean_environment
from .disturbed import RUN, Original, copy_of, require_nothing_lost

pytestmark = pytest.mark.faults

ENDED = {"FAILED", "KILLED"}  # the second where the disk had no room for the first
SHARES = (0.05, 0.25, 0.5, 0.75, 0.95)  # of what a run writes, that the disk has room for
IN_NAMESPACE = ("unshare", "--map-root-user", "--mount", "sh", "-euc")
# Run a command in a project on a disk of its own, first with little room, then with enough; what
# is there in the end is copied out of the namespace, where nobody else sees that disk.
SCRIPT = """
project=$1 room=$2; shift 2
cp -a "$project" "$project.kept"
mount -t tmpfs -o size=1g tmpfs "$project"
cp -a "$project.kept/." "$project"; cd "$project"
free=$(df --block-size=1 --output=avail . | tail -n 1)
head -c $((free - room)) /dev/zero >ballast
"$@" >"$project.first" 2>&1 && exit 3
rm ballast
"$@" >"$project.second" 2>&1
rm -r "$project.kept"; cp -a . "$project.kept"
"""


def written_bytes(project: Project) -> int:
    """What a project takes on a disk."""
    every = project.folder.rglob("*")
    return sum(path.stat().st_blocks * 512 for path in every if path.is_file())


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Original:
    """A project in which `kedro run` had room."""
    if subprocess.run([*IN_NAMESPACE, "mount -t tmpfs tmpfs /mnt"], check=False).returncode:
        pytest.skip("this user may mount no disk in a namespace")
    return Original.of(tmp_path_factory.mktemp("run"), RUN)


@pytest.mark.parametrize("share", SHARES)
def test_a_run_on_a_full_disk_ends_with_one_message_and_goes_on_with_room(
    original, tmp_path, share, survived
):
    project = copy_of(original.clean, tmp_path / "project")
    size = written_bytes(original.ended) - written_bytes(project)
    place = str(project.folder)
    command = [*IN_NAMESPACE, SCRIPT, "sh", place, str(int(share * size)), *RUN]
    done = subprocess.run(
        command, env=clean_environment(), capture_output=True, text=True, check=False
    )
    first = (tmp_path / "project.first").read_text()
    assert done.returncode == 0, first + done.stderr
    assert "Traceback" not in first
    (error,) = [line for line in first.splitlines() if line.startswith("Error:")]
    assert "No space left on device" in error
    shutil.rmtree(project.folder)
    (tmp_path / "project.kept").rename(project.folder)
    require_nothing_lost(project, original.ended, "distill", ENDED)
    survived("disk full in a run", 1)
