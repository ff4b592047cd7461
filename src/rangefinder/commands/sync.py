"""`rangefinder sync`: what MLflow missed."""

from __future__ import annotations

from pathlib import Path

import click

from rangefinder.commands import env_option


@click.command()
@click.option(
    "--all-hosts",
    is_flag=True,
    help="Send runs of other machines that have not ended, too, as killed, for example those of a "
    "container that is gone.",
)
@env_option
def sync(all_hosts: bool, env: str) -> None:
    """Send to MLflow what it missed while it could not be reached.

    A run whose MLflow does not respond, is locked, or dies in the middle goes on to its end, and
    leaves in data/unsent_runs what could not be recorded. It is joined to the run that it is of,
    and is not sent twice. The exit code is 1 if something is left.
    """
    from rangefinder.config.project import Project
    from rangefinder.models.consent import trust
    from rangefinder.tracking.store import Store
    from rangefinder.tracking.sync import send

    project = Project.find(Path(), env)
    trust(project.parameters().teacher.network)  # models are loaded to be registered
    store = Store.of(project.root, project.tracking())
    result = send(store, of_all_hosts=all_hosts)
    for name in result.runs:
        click.echo(f"Sent: {name}")
    for name, why in result.left.items():
        click.echo(f"Left: {name}: {why}", err=True)
    if result.unreachable:
        click.echo(f"MLflow at {store.name} does not respond.", err=True)
    if not (result.runs or result.left):
        click.echo("MLflow has missed nothing.")
    if result.left:
        raise SystemExit(1)
