"""`rangefinder export`: a trained model as one ONNX file."""

from __future__ import annotations

from pathlib import Path

import click

from rangefinder.commands import env_option, model_option


@click.command()
@model_option
@click.option(
    "--out",
    type=click.Path(dir_okay=False, path_type=Path),
    default="model.onnx",
    show_default=True,
    help="The file.",
)
@env_option
def export(model: str | None, out: Path, env: str) -> None:
    """Write a model as one ONNX file, which measures photos without this package.

    Everything from stored samples to metres is in it, for photos of any size. Its distances are
    compared with the model's on made-up photos of five sizes; a file that differs by more than
    0.01 % on more than 1 % of the pixels is an error. Needs rangefinder[onnx].
    """
    from rangefinder.serving.export import export_onnx
    from rangefinder.serving.export_check import agreement, require_agreement
    from rangefinder.tracking.registry import find_model

    trained = find_model(model, env)
    export_onnx(trained, out)
    checks = agreement(trained, out)
    require_agreement(checks, out)
    worst = max(one.distance for one in checks)
    size_mb = out.stat().st_size / 1e6
    click.echo(
        f"{out}: {trained.card.kind} {trained.fingerprint}, camera {trained.card.camera.name}, "
        f"{size_mb:.1f} MB. Distances within {worst:.0e} of the model's on {len(checks)} photos."
    )
