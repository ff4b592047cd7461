"""`rangefinder adapt`: go on learning from new photos."""

from __future__ import annotations

import logging
from pathlib import Path

import click


@click.command()
@click.argument("folder")
@click.option(
    "--model",
    metavar="PATH|models:/NAME@ALIAS",
    help="Student to start from.  [default: the registry's champion, else its newest candidate]",
)
@click.option("--env", default="local", show_default=True, help="Configuration of the project.")
def command(folder: str, model: str | None, env: str) -> None:
    """Learn from the new, unlabelled photos in FOLDER.

    The teacher looks at every local area of them, and the student goes on learning from what it
    says, of these photos and of the old ones. The result is scored against the current student on
    the held-out captures, and registered as candidate. Photos that cannot be used are named and
    left out; those added earlier are remembered. A run that was stopped goes on when it is started
    again.
    """
    logging.getLogger("lightning.pytorch").setLevel(logging.WARNING)
    from rangefinder.deploy.adapt import adapt
    from rangefinder.deploy.project import Project
    from rangefinder.evaluation.report import print_summary

    adapted = adapt(Project.find(Path(), env), folder, model)
    photos = adapted.photos
    for reason in photos.refused.values():
        click.echo(f"Left out: {reason}", err=True)
    if photos.new:
        click.echo(f"Learned from {photos.new} new photos ({photos.known} were known before).")
    else:
        click.echo("Learned from photos that were added before, by a run that was stopped.")
    print_summary(adapted.summary)
    where = "not registered: tracking is off"
    if adapted.version is not None:
        where = f"registered as candidate, version {adapted.version}"
    click.echo(f"Adapted student: {adapted.folder}, {where}.")
