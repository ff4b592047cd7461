"""`rangefinder adapt`: continue training on new photos."""

from __future__ import annotations

from pathlib import Path

import click

from rangefinder.commands import env_option, model_option


@click.command()
@click.argument("folder")
@model_option
@env_option
def adapt(folder: str, model: str | None, env: str) -> None:
    """Continue training the student on the new, unlabelled photos in FOLDER.

    The teacher predicts every local area of them, and the student is distilled further on these
    photos and the old ones. The result is scored against the current student on the held-out
    captures, registered, and becomes the champion if it passes the gate of 'rangefinder promote'.
    Photos are read as those that the student was trained on. Those that cannot be used are named
    and left out; those added earlier are remembered. A run that was stopped goes on when it is
    started again.
    """
    from rangefinder.adaptation import adapt_to_photos
    from rangefinder.config.project import Project
    from rangefinder.evaluation.report import print_decision, print_summary

    project = Project.find(Path(), env)
    with project.writing():
        adapted = adapt_to_photos(project, folder, model)
    photos = adapted.photos
    for reason in photos.refused.values():
        click.echo(f"Left out: {reason}", err=True)
    if photos.new:
        click.echo(f"Trained on {photos.new} new photos ({photos.known} were known before).")
    else:
        click.echo("Trained on photos that were added before, by a run that was stopped.")
    print_summary(adapted.summary)
    where = "not registered: tracking is off, or MLflow has failed"
    if adapted.decision is not None:
        print_decision(adapted.decision.content())
        where = f"registered as version {adapted.decision.version.number}"
    click.echo(f"Adapted student: {adapted.folder}, {where}.")
