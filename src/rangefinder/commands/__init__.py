"""`rangefinder COMMAND`: the group, its errors, and options that commands share.

A command's module is imported when it is called, so that a quick one does not wait for the imports
of the others. Nothing heavy is imported here.
"""

from __future__ import annotations

import importlib
import math
import signal
from collections.abc import Callable, Mapping
from pathlib import Path
from threading import Event
from typing import TYPE_CHECKING, Any, TypeVar, cast

import click

from rangefinder.common import no_telemetry
from rangefinder.common.foreign import mask_log_lines
from rangefinder.errors import ConfigError, RangefinderError
from rangefinder.models.consent import EVERYTHING, trust

if TYPE_CHECKING:
    from rangefinder.config import Device, Parameters
    from rangefinder.inference.interface import Runtime
    from rangefinder.inference.session import Session

# name -> (module, what it does); the module holds the command under its name
COMMANDS: Mapping[str, tuple[str, str]] = {
    "lens": ("lens", "What a lens can measure, before anything is trained."),
    "measure": ("measure", "Distance in metres of every pixel of a photo."),
    "verify": ("measure", "Compare a model's distances with a tape measure."),
    "watch": ("measure", "Measure photos as they land in a folder."),
    "stream": ("stream", "Measure a video, a camera or a folder frame by frame."),
    "drift": ("drift", "Whether photos are still of the camera that a model was trained on."),
    "serve": ("serve", "Measure photos for others: a web page and an HTTP interface."),
    "export": ("export", "Write a model as one file, for devices without this package."),
    "sign": ("sign", "Sign a model with your key."),
    "verify-signature": ("sign", "Verify who made a model, and that it is as it was."),
    "adapt": ("adapt", "Continue training on new photos of the same camera."),
    "promote": ("promote", "Make a student the champion if it is better than the present one."),
    "rollback": ("promote", "Make the student that the champion replaced the champion again."),
    "lineage": ("lineage", "Print what a registered model was made from."),
    "fsck": ("fsck", "Verify everything that is stored in the project."),
    "sync": ("sync", "Send to MLflow what it missed while it could not be reached."),
    "chart": ("charts", "Draw sheets to print, photograph and train on."),
    "mask": ("charts", "Find the printed sheet in photos of it."),
    "distances": ("charts", "List distances to photograph the sheets at."),
    "calibrate": ("calibrate", "Find out how a lens blurs from a few pairs of photos."),
    "init": ("init", "Write a configuration for a camera of your own."),
    "check": ("check", "Look at captures before training on them."),
    "simulate": (
        "simulate",
        "Photograph a frame, or pairs to practise on, with a simulated camera.",
    ),
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
        module = importlib.import_module(f"rangefinder.commands.{COMMANDS[cmd_name][0]}")
        return cast("click.Command", getattr(module, cmd_name.replace("-", "_")))

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List commands without importing them."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, text) in COMMANDS.items()])

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
    mask_log_lines()


F = TypeVar("F", bound=Callable[..., Any])


class Point(click.ParamType[tuple[float, float]]):
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


def out_option(default: str | None, help_: str) -> Callable[[F], F]:
    """`--out FOLDER`."""
    kind = click.Path(file_okay=False, path_type=Path)
    shown = default is not None
    return click.option("--out", type=kind, default=default, show_default=shown, help=help_)


photos_argument = click.argument("photos", nargs=-1, required=True, metavar="PHOTO...")
points_option = click.option(
    "--at", "points", type=Point(), multiple=True, help="Print the distance there [px]."
)
json_option = click.option("--json", "as_json", is_flag=True, help="Print lines of JSON.")
env_option = click.option(
    "--env",
    default="local",
    show_default=True,
    metavar="NAME",
    help="Configuration conf/NAME, laid over conf/base.",
)
camera_option = click.option(
    "--camera",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Camera record (camera.yml or camera.json) in place of the configuration's camera.",
)


def _trust_code(context: click.Context, option: click.Parameter, given: bool) -> None:
    if given:
        trust(EVERYTHING)


def model_option(command: F) -> F:
    """`--model`, and `--trust-code` for those whose card names a custom network."""
    command = click.option(
        "--trust-code",
        is_flag=True,
        expose_value=False,
        callback=_trust_code,
        help="Import the network that a custom teacher's card names: it may do anything.",
    )(command)
    return click.option(
        "--model",
        metavar="PATH|models:/NAME@ALIAS",
        help="Model's folder, or its name in the registry; commands that measure take an exported "
        "file (.onnx) too.  [default: the registry's champion, else its candidate]",
    )(command)


_FORCE = click.option(
    "--force",
    is_flag=True,
    help="Measure photos of another camera, focus or size, or unlike those of training.",
)
_SESSION = (
    model_option,
    click.option(
        "--runtime",
        type=click.Choice(["torch", "onnx", "openvino", "auto"]),
        help="What computes; auto: the fastest that is installed and agrees.  [default: torch, "
        "and onnx for an exported file]",
    ),
    env_option,
    click.option(
        "--device", type=click.Choice(["auto", "cpu", "cuda"]), default="auto", show_default=True
    ),
    click.option(
        "--origin", type=Point(), help="Upper left corner of a crop on the full photo [px]."
    ),
    click.option(
        "--scale",
        type=click.FloatRange(min=0, min_open=True, max=64),
        help="Pixels of the full photo per pixel of this one, if it was made smaller.",
    ),
    click.option(
        "--bits",
        type=click.IntRange(9, 16),
        help="Bits that 16-bit photos use which do not say it.  [default: as in training]",
    ),
)


def session_options(command: F) -> F:
    """Options of every command that measures."""
    return session_options_without_force(_FORCE(command))


def session_options_without_force(command: F) -> F:
    """The same for a command that takes all photos."""
    for option in reversed(_SESSION):
        command = option(command)
    return command


def open_session(
    model: str | None,
    runtime: Runtime | None,
    device: Device,
    force: bool,
    origin: tuple[float, float] | None,
    scale: float | None,
    bits: int | None,
    env: str,
) -> Session:
    """The session that `session_options` describe."""
    from rangefinder.config import ComputeParams
    from rangefinder.coordinates import Placement
    from rangefinder.inference.exported import FilePredictor
    from rangefinder.inference.session import Session
    from rangefinder.tracking.predictors import find_predictor

    predictor = find_predictor(model, runtime, device, env)
    if not isinstance(predictor, FilePredictor):
        from rangefinder.models.device import configure_cpu

        configure_cpu(ComputeParams())
    placement = Placement.given(origin, scale)
    return Session(predictor, placement=placement, force=force, sample_bits=bits)


def stop_event() -> Event:
    """An event that Ctrl-C and SIGTERM set, so that what has begun is finished."""
    stop = Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    return stop


def parameters_for(env: str, camera: Path | None = None) -> Parameters:
    """Parameters of the project around; outside of one, the defaults.

    Args:
        env: Configuration environment.
        camera: Camera record that replaces the configuration's camera.

    Raises:
        ConfigError: If there is no such configuration, or a value is not valid.
    """
    from rangefinder.camera import Camera
    from rangefinder.config import CameraParams, Parameters
    from rangefinder.config.project import Project

    try:
        project = Project.find(Path(), env)
    except ConfigError:
        if env != "local":
            raise
        params = Parameters()
    else:
        params = project.parameters()
    if camera is None:
        return params
    content = Camera.read(camera).model_dump(exclude_unset=True)
    # Of a record that names no lens, nothing is known but focal length and f-number.
    record = CameraParams.model_validate({"lens": {"kind": "thin"}} | content)
    return params.model_copy(update={"camera": record})


def patch_px_of(params: Parameters) -> int:
    """Side of the teacher's patch [px], a custom one's too."""
    from rangefinder.models.teacher import build_teacher

    return build_teacher(params.teacher, params.prediction.bins).patch_px
