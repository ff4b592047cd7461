"""`rangefinder promote`, `rangefinder rollback`: which student is the champion."""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path

import click

from rangefinder.commands import BAD_INPUT, env_option


@click.command()
@click.option(
    "--version",
    "number",
    type=click.IntRange(1),
    help="Number of the version.  [default: the candidate]",
)
@click.option("--dry-run", is_flag=True, help="Decide, but change and record nothing.")
@click.option("--force", is_flag=True, help="Promote it in spite of a rule; that is recorded.")
@env_option
def promote(number: int | None, dry_run: bool, force: bool, env: str) -> None:
    """Make a registered student the champion if it is better than the present one.

    Both are scored on the same test captures. The rules, with their tolerances in section promotion
    of conf/base/parameters.yml: better by a significant margin; calibrated no worse; no worse in
    any distance bin or near depth edges; no slower; better than the best constant. The first
    champion has to beat that constant only. Decision and reasons go to
    data/08_reporting/promotion.json and to the version's tags and description. The exit code is 2
    if it is refused.
    """
    from rangefinder.config.project import Project
    from rangefinder.evaluation.report import print_decision
    from rangefinder.tracking import promotion

    project = Project.find(Path(), env)
    wanted = None if number is None else str(number)
    with nullcontext() if dry_run else project.writing():
        decision = promotion.promote(project, wanted, force=force, dry_run=dry_run)
    print_decision(decision.content())
    if dry_run:
        click.echo("Nothing was changed or recorded.")
    if not decision.is_champion:
        raise SystemExit(BAD_INPUT)


@click.command()
@env_option
def rollback(env: str) -> None:
    """Make the student that the champion replaced the champion again."""
    from rangefinder.config.project import Project
    from rangefinder.tracking.promotion import rollback as step_back

    former, now = step_back(Project.find(Path(), env))
    click.echo(f"The champion is version {now.number} again; version {former.number} is not.")
