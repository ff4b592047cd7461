"""`rangefinder COMMAND`: finds the command, and says plainly what is wrong.

A command's module is imported when it is called, so that a quick one does not wait for the imports
of the others.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from typing import Any, cast

import click

from rangefinder.deploy.privacy import no_telemetry
from rangefinder.errors import RangefinderError

# name -> what it does; the module `commands.NAME` holds the command as `command`
COMMANDS: Mapping[str, str] = {
    "lens": "What a lens can measure, before anything is trained.",
    "measure": "Distance in metres of every pixel of a photo.",
    "verify": "Compare what a model says with a tape measure.",
    "watch": "Measure photos as they land in a folder.",
    "adapt": "Go on learning from new photos of the same camera.",
    "chart": "Draw sheets to print, photograph and train on.",
    "mask": "Find the printed sheet in photos of it.",
    "distances": "List distances to photograph the sheets at.",
    "init": "Write a configuration for a camera of your own.",
    "check": "Look at captures before training on them.",
    "simulate": "Photograph an rgbd frame with a simulated camera.",
}
BAD_INPUT = 2  # exit code, as click has for wrong usage


class BadInput(click.ClickException):
    """An error of ours as click shows it."""

    exit_code = BAD_INPUT


class Commands(click.Group):
    """Group whose commands are imported when they are called."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Names in the order of their help."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The command of that name, or None."""
        if cmd_name not in COMMANDS:
            return None
        module = importlib.import_module(f"rangefinder.commands.{cmd_name}")
        return cast("click.Command", module.command)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List commands without importing them."""
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))

    def invoke(self, ctx: click.Context) -> Any:
        """Run, and end on an error of ours with its message instead of a traceback."""
        try:
            return super().invoke(ctx)
        except RangefinderError as error:
            raise BadInput(str(error)) from error
        except BrokenPipeError:
            raise  # whoever read our output has gone: click ends quietly
        except OSError as error:  # a full disk, a folder that may not be written
            raise click.ClickException(str(error)) from error


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="rangefinder")
def main() -> None:
    """Metric distance from the blur in one photo."""
    no_telemetry()
