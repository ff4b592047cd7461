"""Options that several commands share. Nothing heavy is imported here."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

import click

if TYPE_CHECKING:
    from rangefinder.deploy.bench import Bench

F = TypeVar("F", bound=Callable[..., Any])


class Place(click.ParamType[tuple[float, float]]):
    """Two numbers with a comma between them."""

    name = "x,y"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[float, float]:
        """`12,34.5` -> (12.0, 34.5)."""
        try:
            x, y = (float(part) for part in str(value).split(","))
        except ValueError:
            self.fail(f"{value!r} is not of the form x,y", param, ctx)
        if not (math.isfinite(x) and math.isfinite(y)):
            self.fail(f"{value!r} is not finite", param, ctx)
        return x, y


_MODEL = (
    click.option(
        "--model",
        metavar="PATH|models:/NAME@ALIAS",
        help="Model's folder, or its name in the registry.  [default: the registry's champion, "
        "else its newest candidate]",
    ),
    click.option(
        "--device", type=click.Choice(["auto", "cpu", "cuda"]), default="auto", show_default=True
    ),
    click.option("--force", is_flag=True, help="Measure photos of another camera, focus or size."),
    click.option(
        "--origin", type=Place(), help="Upper left corner of a crop on the full photo [px]."
    ),
    click.option(
        "--scale",
        type=click.FloatRange(min=0, min_open=True),
        help="Pixels of the full photo per pixel of this one, if it was made smaller.",
    ),
    click.option("--env", default="local", show_default=True, help="Configuration of the project."),
)


def model_options(command: F) -> F:
    """Options of every command that measures."""
    for option in reversed(_MODEL):
        command = option(command)
    return command


def open_bench(
    model: str | None,
    device: str,
    force: bool,
    origin: tuple[float, float] | None,
    scale: float | None,
    env: str,
) -> Bench:
    """The bench that `model_options` describe."""
    from rangefinder.config import ComputeParams
    from rangefinder.deploy.bench import Bench
    from rangefinder.deploy.source import find_model
    from rangefinder.location import Placement
    from rangefinder.models.device import configure_cpu

    configure_cpu(ComputeParams())
    placement = None
    if origin is not None or scale is not None:
        placement = Placement(origin or (0.0, 0.0), scale or 1.0)
    return Bench(find_model(model, env), device, placement, force=force)
