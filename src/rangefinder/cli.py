"""Commands of the project, as `kedro` finds them: `kedro run` that says plainly what is wrong."""

from __future__ import annotations

import errno
import functools
import signal
import sys
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Any

import click
from kedro.framework.cli.project import run as kedro_run
from kedro.framework.cli.utils import CONTEXT_SETTINGS

from rangefinder.errors import RangefinderError

OF_DISKS = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EACCES)


@click.group(context_settings=CONTEXT_SETTINGS, name="rangefinder")
def cli() -> None:
    """Commands of the rangefinder project."""


def plainly(command: Callable[..., Any]) -> Callable[..., Any]:
    """Let a command end on an error of ours, or of a disk, with its message, not a traceback."""

    @functools.wraps(command)
    def run_plainly(**options: Any) -> Any:
        signal.signal(signal.SIGTERM, _end)
        if options.get("pipeline") and not options.get("pipelines"):
            # `--pipeline` is promised to users; Kedro would warn that it prefers `--pipelines`.
            options |= {"pipelines": [options["pipeline"]], "pipeline": None}
        try:
            return command(**options)
        except Exception as error:
            told = next(filter(None, map(_told, _causes(error))), None)
            if told is None:
                raise
            notes = getattr(error, "__notes__", [])
            raise click.ClickException("\n".join([told, *notes])) from error

    return run_plainly


def _told(error: BaseException) -> str | None:
    """What a user is told of an error instead of a traceback; None: the traceback, it is a bug."""
    of_disk = isinstance(error, OSError) and error.errno in OF_DISKS
    return str(error) if of_disk or isinstance(error, RangefinderError) else None


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__


def _end(signum: int, frame: FrameType | None) -> None:
    """Turn a request to end into an orderly exit, which closes the record of the run."""
    sys.exit(128 + signum)


run = cli.command(
    name="run",
    params=kedro_run.params,
    help=kedro_run.help,
    short_help=kedro_run.short_help,
)(plainly(kedro_run.callback or kedro_run))
