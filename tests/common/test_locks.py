"""Exclusive locks: who holds one is said, one of a killed process is free, children do not wait."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from datetime import datetime

import pytest

from rangefinder.common.locks import Holder, exclusive_lock

HOLD = """
import logging, subprocess, sys, time
from pathlib import Path
from rangefinder.common.locks import exclusive_lock
logging.basicConfig(level=logging.INFO)
with exclusive_lock(Path(sys.argv[1]), "the thing", with_children=True):
    print("held", flush=True)
    sys.stdin.readline()
    if len(sys.argv) > 2:
        again = [sys.executable, "-c", sys.argv[2], sys.argv[1]]
        sys.exit(subprocess.run(again, stdin=subprocess.DEVNULL, timeout=60).returncode)
"""


@pytest.fixture
def start():
    """Starts processes that take the lock of a path; none is left."""
    running = []

    def begin(*arguments):
        command = [sys.executable, "-c", HOLD, *map(str, arguments)]
        pipes = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.PIPE)
        running.append(subprocess.Popen(command, text=True, **pipes))
        return running[-1]

    yield begin
    for process in running:
        process.kill()
        process.communicate()


def held(process):
    assert process.stdout.readline() == "held\n", process.stderr.read()
    return process


def waiting_line(process):
    return next(line for line in process.stderr if "waiting" in line)


def test_a_second_process_names_the_holder_and_waits(start, tmp_path):
    path = tmp_path / "a"
    began = datetime.now().replace(microsecond=0)
    first = held(start(path))
    second = start(path)
    said = waiting_line(second)
    assert f"the thing is being written by process {first.pid} on {socket.gethostname()}" in said
    assert str(path) in said  # what it runs
    since = datetime.fromisoformat(said.split("since ")[1][:19])
    assert began <= since <= datetime.now()
    assert first.poll() is None
    first.communicate("go\n")
    assert "stopped" not in held(second).communicate("go\n")[1]
    assert [one.name for one in tmp_path.iterdir()] == ["a.lock"]


def test_the_lock_of_a_killed_process_is_taken_over(start, tmp_path):
    killed = held(start(tmp_path / "a"))
    killed.kill()
    killed.wait()
    assert Holder.noted(tmp_path / "a.holder").process == killed.pid
    said = held(start(tmp_path / "a")).communicate("go\n")[1]
    assert f"process {killed.pid} on" in said
    assert "which was stopped: going on" in said


def test_it_is_free_though_a_forked_child_of_the_killed_process_lives(tmp_path):
    ready, release = os.pipe(), os.pipe()
    parent = os.fork()
    if parent == 0:
        with exclusive_lock(tmp_path / "a"):
            if os.fork() == 0:
                os.write(ready[1], b"x")
                os.read(release[0], 1)
                os._exit(0)
            time.sleep(600)
    os.read(ready[0], 1)
    os.kill(parent, signal.SIGKILL)
    os.waitpid(parent, 0)
    with exclusive_lock(tmp_path / "a"):
        assert Holder.noted(tmp_path / "a.holder").process == os.getpid()
    os.write(release[1], b"x")


def test_a_process_that_the_holder_starts_does_not_wait(start, tmp_path):
    outer = held(start(tmp_path / "a", HOLD))
    said, _ = outer.communicate("go\n")
    assert said == "held\n"  # of the inner one
    assert outer.returncode == 0


def test_ctrl_c_ends_the_waiting_and_leaves_the_holder(start, tmp_path):
    first = held(start(tmp_path / "a"))
    second = start(tmp_path / "a")
    waiting_line(second)
    second.send_signal(signal.SIGINT)
    assert "KeyboardInterrupt" in second.communicate()[1]
    assert Holder.noted(tmp_path / "a.holder").process == first.pid
    first.communicate("go\n")
    assert first.returncode == 0


def test_a_damaged_note_is_nobody(tmp_path):
    for content in (
        "",
        "{",
        '{"host": 1}',
        '{"host": "a", "process": "b", "command": 1, "since": 2}',
    ):
        (tmp_path / "a.holder").write_text(content)
        assert Holder.noted(tmp_path / "a.holder") is None
    with exclusive_lock(tmp_path / "a"):
        assert Holder.noted(tmp_path / "a.holder") is not None
