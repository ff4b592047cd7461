"""Exclusive locks among processes, with a note of who holds one.

The operating system holds the lock, so that of a process that was killed is free.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import shlex
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from typing import Self

from filelock import FileLock, Timeout

from rangefinder.common.foreign import read_json, shortened

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Holder:
    """The process that holds a lock."""

    host: str  # name of its machine
    process: int  # its id
    command: str  # what it runs
    since: str  # local date and time

    @classmethod
    def here(cls) -> Self:
        """This process."""
        words = [Path(sys.argv[0]).name, *sys.argv[1:]]
        now = datetime.now().isoformat(" ", "seconds")
        return cls(socket.gethostname(), os.getpid(), shortened(shlex.join(words)), now)

    @classmethod
    def noted(cls, note: Path) -> Self | None:
        """Who left a note; None if there is none, or it cannot be read."""
        try:
            content = read_json(note)
            values = (content[name] for name in ("host", "process", "command", "since"))
            host, process, command, since = values
            return cls(str(host), int(process), str(command), str(since))
        except (OSError, ValueError, KeyError, TypeError):
            return None

    @property
    def runs_this(self) -> bool:
        """Whether this process is one that the holder started, or a child of such a one."""
        if self.host != socket.gethostname():
            return False
        import psutil  # registered models read their files without it

        with contextlib.suppress(psutil.Error):
            return self.process in {parent.pid for parent in psutil.Process().parents()}
        return False

    def __str__(self) -> str:
        """For messages."""
        return f"process {self.process} on {self.host} ({self.command}, since {self.since})"


@contextmanager
def exclusive_lock(path: Path, what: str = "", with_children: bool = False) -> Iterator[None]:
    """Hold the lock of a file or folder, after waiting for the process that holds it now.

    Beside `<name>.lock` lies `<name>.holder` while the lock is held: who holds it.

    Args:
        path: The file or folder.
        what: Its name in messages; the path by default.
        with_children: Whether processes that the holder starts work on its behalf, and do not wait.
    """
    what = what or str(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    note = path.with_name(f"{path.name}.holder")
    lock = FileLock(path.with_name(f"{path.name}.lock"))
    try:
        lock.acquire(timeout=0)
    except Timeout:
        holder = Holder.noted(note)
        if with_children and holder is not None and holder.runs_this:
            yield
            return
        log.warning(
            "%s is being written by %s: waiting until it is done (Ctrl-C gives up)",
            what,
            holder or "another process",
        )
        lock.acquire()
    try:
        _take_over(what, note)
        yield
    finally:
        note.unlink(missing_ok=True)
        lock.release()


def _take_over(what: str, note: Path) -> None:
    """Note that this process holds the lock now; a note that is there is of one that was killed."""
    stopped = Holder.noted(note)
    if stopped is not None:
        log.warning("%s was being written by %s, which was stopped: going on", what, stopped)
    note.write_text(json.dumps(asdict(Holder.here())) + "\n", encoding="utf-8")
