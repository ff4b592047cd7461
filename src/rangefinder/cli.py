"""Commands of the project for Kedro: `kedro run` with error messages instead of tracebacks."""

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

DISK_ERRORS = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EACCES)


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
            cause = next(filter(_is_expected, _causes(error)), None)
            if cause is None:
                raise  # a bug, which needs its traceback
            notes = getattr(error, "__notes__", [])
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


def _end(signum: int, frame: FrameType | None) -> None:
    """Turn SIGTERM into an orderly exit, which ends the MLflow run."""
    sys.exit(128 + signum)


run = cli.command(
    name="run", params=kedro_run.params, help=kedro_run.help, short_help=kedro_run.short_help
)(plainly(kedro_run.callback or kedro_run))
