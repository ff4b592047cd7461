"""`rangefinder serve`: a web page and an HTTP interface that measure photos."""

from __future__ import annotations

import logging
import signal
import socket
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from types import FrameType
from typing import Any

import click

from rangefinder.commands import open_session, parameters_for, session_options
from rangefinder.errors import ConfigError

_GRACE_S = 10  # for requests under way, when the server ends


@click.command()
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option(
    "--port",
    type=click.IntRange(0, 65535),
    default=8000,
    show_default=True,
    help="Port; 0: a free one, which is printed.",
)
@click.option(
    "--max-mb",
    type=click.FloatRange(min=0, min_open=True, max=4096),
    default=64.0,
    show_default=True,
    help="Largest photo [MB].",
)
@click.option(
    "--max-waiting",
    type=click.IntRange(1, 10_000),
    default=64,
    show_default=True,
    help="Photos that may wait at once; more are refused with 429.",
)
@click.option(
    "--time-limit",
    type=click.FloatRange(min=0, min_open=True, max=86_400),
    default=60.0,
    show_default=True,
    help="Time that a client has to send its photo [s].",
)
@session_options
def serve(
    host: str, port: int, max_mb: float, max_waiting: int, time_limit: float, **options: Any
) -> None:
    """Measure photos for others, until Ctrl-C.

    The address that is printed shows a page: drop photos there, and read off distances. /docs
    describes the HTTP interface, /metrics counts for Prometheus, /healthz responds while it runs.
    If the last photos show that the camera has changed ('rangefinder drift'), /metrics and
    /v1/model say so, and the log does once.
    Photos are not kept. There is no password: whoever reaches the address can measure. Needs
    rangefinder[serve].
    """
    from rangefinder.captures.formats import install

    try:
        import uvicorn

        from rangefinder.inference.drift import DriftMonitor
        from rangefinder.serving.app import create_app
        from rangefinder.serving.limits import Limits
    except ModuleNotFoundError as exc:
        raise ConfigError(
            f"serving needs {exc.name}, which is not installed", todo=f"{install('serve')}."
        ) from exc
    session = open_session(**options)
    monitor = None
    if session.card.drift is not None:
        monitor = DriftMonitor.attached_to(session, parameters_for(options["env"]).drift)
    limits = Limits(round(max_mb * 2**20), max_waiting, time_limit)
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with (
        TemporaryDirectory(prefix="rangefinder-") as folder,
        socket.create_server((host, port), family=family, backlog=512) as listening,
    ):
        config = uvicorn.Config(
            create_app(session, Path(folder), limits, monitor),
            log_level=logging.WARNING,
            timeout_graceful_shutdown=_GRACE_S,
        )
        address, free_port = listening.getsockname()[:2]
        place = f"[{address}]" if ":" in address else address
        click.echo(
            f"{session.card.title(session.fingerprint)}, at http://{place}:{free_port}; "
            "Ctrl-C ends it."
        )
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, _end)  # uvicorn calls it when it has sent the responses under way
        uvicorn.Server(config).run(sockets=[listening])


def _end(number: int, frame: FrameType | None) -> None:
    """Leave in order, so that photos under way are removed."""
    sys.exit(0)
