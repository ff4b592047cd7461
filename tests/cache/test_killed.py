"""Filling a cache in processes that are killed, and in several at once."""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from rangefinder.cache.store import read_cache
from rangefinder.common.locks import exclusive_lock
from rangefinder.models.model_files import save_model

from .conftest import PARAMS, content

KILLS = 12
ATTEMPTS = 300
SEED = 7

# Imports once; then every line on its input forks a process that fills the cache in that folder,
# and every line "wait PID" waits for one and prints its exit code.
SERVER = """
import logging, os, sys
from pathlib import Path
import torch
from rangefinder.cache import store
from rangefinder.cache.fill import fill_cache
from rangefinder.captures.manifest import read_captures
from rangefinder.config import CacheParams
from rangefinder.models.model_files import load_model

store.SHARD_BYTES = 4000
teacher, photos = load_model(Path(sys.argv[1])), read_captures(Path(sys.argv[2]))
params = CacheParams.model_validate_json(sys.argv[3])
logging.basicConfig(filename=sys.argv[4], level=logging.INFO)
print("ready", flush=True)
for line in sys.stdin:
    word, _, rest = line.strip().partition(" ")
    if word == "wait":
        print(os.waitstatus_to_exitcode(os.waitpid(int(rest), 0)[1]), flush=True)
        continue
    child = os.fork()
    if child == 0:
        torch.set_num_threads(1)
        fill_cache(teacher, photos, params, Path(rest))
        os._exit(0)
    print(child, flush=True)
"""


class Server:
    """Starts processes that fill a cache, quickly."""

    def __init__(self, process: subprocess.Popen[str], log: Path) -> None:
        self.process, self.log = process, log

    def _ask(self, line: str) -> int:
        print(line, file=self.process.stdin, flush=True)
        return int(self.process.stdout.readline())

    def fill(self, folder: Path) -> int:
        """Start to fill; the id of the process."""
        return self._ask(f"fill {folder}")

    def wait(self, child: int) -> int:
        """How it ended."""
        return self._ask(f"wait {child}")


@pytest.fixture(scope="module")
def server(teacher, photos, tmp_path_factory):
    folder = tmp_path_factory.mktemp("server")
    save_model(folder / "teacher", teacher)
    given = [folder / "teacher", photos.folder, PARAMS.model_dump_json(), folder / "log"]
    process = subprocess.Popen(
        [sys.executable, "-c", SERVER, *map(str, given)],
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout.readline() == "ready\n"
    yield Server(process, folder / "log")
    process.stdin.close()
    assert process.wait(timeout=60) == 0


@pytest.fixture(scope="module")
def undisturbed(server, tmp_path_factory):
    """Files of a cache that was filled without interruption, and the seconds it took."""
    folder = tmp_path_factory.mktemp("undisturbed") / "cache"
    began = time.monotonic()
    assert server.wait(server.fill(folder)) == 0
    return content(folder), time.monotonic() - began


def test_however_often_it_is_killed_the_cache_ends_the_same(server, undisturbed, tmp_path):
    expected, seconds = undisturbed
    assert len(expected) > 4
    chance, folder, kills = random.Random(SEED), tmp_path / "cache", 0
    for _ in range(ATTEMPTS):
        child = server.fill(folder)
        time.sleep(chance.uniform(0, 0.9 * seconds))
        os.kill(child, signal.SIGKILL)
        killed = server.wait(child) == -signal.SIGKILL
        kills += killed
        if killed and (folder / "key.json").exists():
            assert read_cache(folder).files <= content(folder).keys()
        if not killed:
            assert content(folder) == expected
            shutil.rmtree(folder)
        if kills >= KILLS:
            break
    assert kills >= KILLS
    assert server.wait(server.fill(folder)) == 0
    assert content(folder) == expected
    assert {path.name for path in tmp_path.iterdir()} == {"cache", "cache.lock"}


def killed_halfway(server, folder):
    """Partial results of a process killed after its first ones; none if it was faster."""
    child, work = server.fill(folder), folder.with_name(f"{folder.name}.work")
    while len(list(work.rglob("*.piece"))) < 3 and not (folder / "key.json").exists():
        time.sleep(0.0005)
    os.kill(child, signal.SIGKILL)
    server.wait(child)
    return list(work.rglob("*.piece"))


def test_a_killed_run_resumes_from_its_partial_results(server, undisturbed, tmp_path):
    folders = (tmp_path / str(attempt) / "cache" for attempt in range(50))
    folder, done = next((f, done) for f in folders if len(done := killed_halfway(server, f)) >= 3)
    logged = len(server.log.read_text())
    assert server.wait(server.fill(folder)) == 0
    assert f"{14 - len(done)} of 14 photos are to be swept" in server.log.read_text()[logged:]
    assert content(folder) == undisturbed[0]


def test_processes_filling_one_cache_at_once_leave_it_undamaged(server, undisturbed, tmp_path):
    children = [server.fill(tmp_path / "cache") for _ in range(3)]
    assert [server.wait(child) for child in children] == [0, 0, 0]
    assert content(tmp_path / "cache") == undisturbed[0]


def test_a_second_process_logs_that_it_waits(server, undisturbed, tmp_path):
    logged = len(server.log.read_text())
    with exclusive_lock(tmp_path / "cache"):
        child = server.fill(tmp_path / "cache")
        while "waiting until it is done" not in server.log.read_text()[logged:]:
            time.sleep(0.01)
        assert not (tmp_path / "cache").exists()
    assert server.wait(child) == 0
    assert content(tmp_path / "cache") == undisturbed[0]
