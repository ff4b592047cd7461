"""Commands of the project for Kedro: `kedro run` with error messages instead of tracebacks."""

from __future__ import annotations

import errno
import functools
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType
from typing import Any

import click
import psutil
from kedro.framework.cli.project import run as kedro_run
from kedro.framework.cli.utils import CONTEXT_SETTINGS

from rangefinder.errors import RangefinderError

POLL_S = 0.5  # between looks whether DVC is there
FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
DISK_ERRORS = (*FULL, errno.EROFS, errno.EACCES)


@click.group(context_settings=CONTEXT_SETTINGS, name="rangefinder")
def cli() -> None:
    """Commands of the rangefinder project."""


def plainly(command: Callable[..., Any]) -> Callable[..., Any]:
    """Let a command end on an error of ours, or of a disk, with its message, not a traceback."""

    @functools.wraps(command)
    def run_plainly(**options: Any) -> Any:
        signal.signal(signal.SIGTERM, _end)
        if "DVC_STAGE" in os.environ:  # `dvc repro` that is killed does not end its stage
            follow_dvc()
        if options.get("pipeline") and not options.get("pipelines"):
            # `--pipeline` is promised to users; Kedro would warn that it prefers `--pipelines`.
            options |= {"pipelines": [options["pipeline"]], "pipeline": None}
        try:
            return command(**options)
        except Exception as error:
            cause = next(filter(_is_expected, _causes(error)), None)
            if cause is None:
                raise  # a bug, which needs its traceback
            notes = getattr(error, "__notes__", [])
            if isinstance(cause, OSError) and cause.errno in FULL:
                notes = ["Make room, then run the same command again: it goes on.", *notes]
            raise click.ClickException("\n".join([str(cause), *notes])) from error

    return run_plainly


def _is_expected(error: BaseException) -> bool:
    """Whether the message of an error suffices: one of ours, or of a disk."""
    of_disk = isinstance(error, OSError) and error.errno in DISK_ERRORS
    return of_disk or isinstance(error, RangefinderError)


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__


def follow_dvc() -> None:
    """End this stage in order, as SIGTERM does, soon after the `dvc` that runs it has ended."""
    above = psutil.Process().parents()
    followed = next(filter(_is_dvc, above), above[0] if above else None)
    orphaned = os.getppid() == 1 and not (followed and _is_dvc(followed))

    def watch() -> None:
        while followed and not orphaned and _is_there(followed):
            time.sleep(POLL_S)
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=watch, daemon=True).start()


def _is_dvc(process: psutil.Process) -> bool:
    try:
        return any(Path(word).stem == "dvc" for word in process.cmdline()[:3])
    except psutil.Error:
        return False


def _is_there(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.Error:
        return False


def _end(signum: int, frame: FrameType | None) -> None:
    """Turn SIGTERM into an orderly exit, which ends the MLflow run."""
    sys.exit(128 + signum)


run = cli.command(
    name="run", params=kedro_run.params, help=kedro_run.help, short_help=kedro_run.short_help
)(plainly(kedro_run.callback or kedro_run))
