"""`rangefinder chart`: sheets to print."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import click

SIZES = ("A4", "A3", "A2", "A1")


@click.command()
@click.option("--size", type=click.Choice(SIZES), default="A3", show_default=True)
@click.option("--sheets", type=click.IntRange(1, 100), default=6, show_default=True)
@click.option(
    "--format", "kind", type=click.Choice(["pdf", "png"]), default="pdf", show_default=True
)
@click.option("--dpi", type=click.IntRange(50, 1200), default=200, show_default=True)
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True)
@click.option(
    "--out",
    type=click.Path(path_type=Path, file_okay=False),
    default="charts",
    show_default=True,
    help="Folder for the sheets.",
)
def command(size: str, sheets: int, kind: str, dpi: int, seed: int, out: Path) -> None:
    """Draw sheets to print, photograph at known distances, and train on.

    Their textures look alike at every magnification, so that nothing but blur tells how far they
    are. The discs in the margin let `rangefinder mask` tell the sheet from the wall. Print them at
    100 %: the line in the margin tells whether the printer did.
    """
    from tqdm import tqdm

    from rangefinder.captures.sheets import SheetPlan, draw_sheet, write_pdf
    from rangefinder.files import write_whole

    plan = SheetPlan(size, dpi, seed)
    for number in tqdm(range(1, sheets + 1), "Drawing", unit="sheet", disable=None):
        sheet = draw_sheet(plan, number)
        path = out / f"sheet-{number:02d}.{kind}"
        if kind == "pdf":
            write_whole(path, partial(write_pdf, sheet=sheet, dpi=dpi))
        else:
            write_whole(path, partial(sheet.save, format="PNG", dpi=(dpi, dpi)))
        tqdm.write(str(path))
