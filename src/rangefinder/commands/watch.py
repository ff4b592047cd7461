"""`rangefinder watch`: measure photos as they land in a folder."""

from __future__ import annotations

import signal
import threading
from pathlib import Path
from typing import Any

import click

from rangefinder.commands.measure import say
from rangefinder.commands.options import Place, model_options, open_bench


@click.command()
@click.argument("folder", type=click.Path(path_type=Path))
@click.option(
    "--out",
    type=click.Path(path_type=Path, file_okay=False),
    help="Folder for the maps.  [default: FOLDER/measured]",
)
@click.option("--at", "points", type=Place(), multiple=True, help="Say the distance there [px].")
@click.option("--json", "as_json", is_flag=True, help="One line of JSON per photo.")
@click.option(
    "--interval",
    type=click.FloatRange(min=0.05, max=3600),
    default=0.5,
    show_default=True,
    help="Time between two looks [s].",
)
@model_options
def command(
    folder: Path,
    out: Path | None,
    points: tuple[tuple[float, float], ...],
    as_json: bool,
    interval: float,
    **options: Any,
) -> None:
    """Measure the photos in FOLDER, then every one that lands there, until Ctrl-C.

    Photos are measured when they are there in full. One that cannot be measured is named with the
    reason, and watching goes on. Photos that have newer maps already are left alone.
    """
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    from rangefinder.deploy.bench import Wanted
    from rangefinder.deploy.watch import watch

    bench = open_bench(**options)
    wanted = Wanted(points, out or folder / "measured")
    click.echo(f"Watching {folder}; Ctrl-C ends it.", err=True)
    measured = refused = 0
    for report in watch(bench, folder, wanted, interval, stop):
        refused += "error" in report
        measured += "error" not in report
        say(report, as_json)
    click.echo(f"{measured} photos measured, {refused} refused.", err=True)
