"""`rangefinder export`: a trained model as one file, ONNX or a program of torch."""

from __future__ import annotations

from pathlib import Path

import click

from rangefinder.commands import env_option, model_option

ONNX, PROGRAM = ".onnx", ".pt2"


@click.command()
@model_option
@click.option(
    "--out",
    type=click.Path(dir_okay=False, path_type=Path),
    default="model.onnx",
    show_default=True,
    help="The file: .onnx, or .pt2 for a program of torch.",
)
@env_option
def export(model: str | None, out: Path, env: str) -> None:
    """Write a model as one ONNX file, which measures photos without this package.

    Everything from stored samples to metres is in it, for photos of any size. Its distances are
    compared with the model's on made-up photos of five sizes; a file that differs by more than
    0.01 % on more than 1 % of the pixels is an error. Needs rangefinder[export]. A file .pt2 is a
    program of torch.export instead, which begins at linear light and takes one photo at a time.
    """
    if out.suffix not in (ONNX, PROGRAM):
        raise click.BadParameter(f"{out} ends neither in .onnx nor in .pt2", param_hint="--out")
    from rangefinder.common.files import atomic_write
    from rangefinder.serving.export_check import checked_export, checked_program
    from rangefinder.tracking.registry import find_model

    trained = find_model(model, env)
    content, checks = (checked_program if out.suffix == PROGRAM else checked_export)(trained)
    atomic_write(out, lambda path: path.write_bytes(content))
    worst, size_mb = max(one.distance for one in checks), len(content) / 1e6
    click.echo(
        f"{out}: {trained.card.title(trained.fingerprint)}, {size_mb:.1f} MB. "
        f"Distances within {worst:.0e} of the model's on {len(checks)} photos."
    )
