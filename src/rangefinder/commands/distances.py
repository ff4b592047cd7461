"""`rangefinder distances`: where to put the sheets."""

from __future__ import annotations

from pathlib import Path

import click

from rangefinder.commands.chart import SIZES


@click.command()
@click.option(
    "--env", default="local", show_default=True, help="Configuration that describes the camera."
)
@click.option(
    "--size",
    type=click.Choice(SIZES),
    default="A3",
    show_default=True,
    help="Size of the printed sheets.",
)
@click.option("--count", type=click.IntRange(2, 500), help="How many.  [default: by the blur]")
def command(env: str, size: str, count: int | None) -> None:
    """List distances to photograph charts at, for the camera of a configuration.

    They are spaced evenly in dioptres over its working range, because blur changes evenly there.
    """
    from rangefinder.camera import Camera
    from rangefinder.deploy.distances import as_table, stops
    from rangefinder.deploy.project import Project

    params = Project.find(Path(), env).parameters()
    camera = Camera.from_params(params.camera)
    click.echo(as_table(stops(camera, params.range.working_m, size, count), camera, size))
