"""`rangefinder lineage`: what a registered model was made from."""

from __future__ import annotations

from pathlib import Path

import click

from rangefinder.commands import env_option


@click.command()
@click.argument("model", metavar="models:/NAME@ALIAS|models:/NAME/VERSION")
@click.option(
    "--html",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Draw it on a page, in this file.",
)
@env_option
def lineage(model: str, html: Path | None, env: str) -> None:
    """Print what a registered model was made from, and the command that makes each thing again.

    From the model back to the teacher cache, the teacher, the captures and where their ids are, the
    camera, its lens, and the commit.
    """
    from rangefinder.common.files import atomic_write
    from rangefinder.common.page import page
    from rangefinder.config.project import Project
    from rangefinder.tracking import lineage as chain
    from rangefinder.tracking.registry import open_registry
    from rangefinder.tracking.store import Store, reading

    project = Project.find(Path(), env)
    with reading(Store.of(project.root, project.tracking())):
        links = chain.lineage(open_registry(project), model)
    if html is None:
        click.echo(chain.as_text(links))
        return
    lead = "What the model was made from, and the command that makes each thing again."
    text = page(model, lead, [chain.section(links)])
    atomic_write(html, lambda path: path.write_text(text, encoding="utf-8"))
    click.echo(f"Written: {html}")
