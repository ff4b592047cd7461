"""`rangefinder fsck`: verify everything that is stored in the project."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import click

from rangefinder.commands import BAD_INPUT, env_option
from rangefinder.errors import RangefinderError

if TYPE_CHECKING:
    from rangefinder.config.project import Project

Verify = Callable[[Path], Iterable[str]]  # what is damaged about a file or folder
Thing = tuple[Path, Verify, str]  # file or folder, how it is verified, what makes it anew
ADAPT = "rangefinder adapt FOLDER"
MODELS = {  # name of a folder in data/06_models -> what makes it anew
    "teacher": "teacher_training",
    "student": "student_distillation",
    "ablation": "ablation",
}


@dataclass(frozen=True)
class Stored:
    """One thing that is stored."""

    path: Path  # its file or folder
    findings: tuple[str, ...]  # what is damaged
    anew: str  # what makes it anew


@click.command()
@env_option
def fsck(env: str) -> None:
    """Verify everything that is stored in the project, and name what is damaged.

    Captures, point spread functions, models, checkpoints and the teacher's predictions are compared
    with the checksums that were written with them. Nothing is changed. The exit code is 2 if
    something is damaged; the last column is what makes it anew.
    """
    from rangefinder.config.project import Project
    from rangefinder.evaluation.report import print_parts, text_table

    project = Project.find(Path(), env)
    found = list(examine(project))
    if not found:
        click.echo(f"Nothing is stored in {project.root}.")
        return
    rows = [
        (
            str(one.path.relative_to(project.root)),
            "damaged" if one.findings else "whole",
            one.anew if one.findings else "",
        )
        for one in found
    ]
    table = text_table(("what", "state", "made anew by"), rows)
    for column in table.columns:
        column.justify = "left"
    findings = [finding for one in found for finding in one.findings]
    print_parts([table, *(["\n".join(findings)] if findings else [])])
    if findings:
        raise SystemExit(BAD_INPUT)


def examine(project: Project) -> Iterator[Stored]:
    """Verify what is there, one thing after the other."""
    for path, verify, anew in (*_data(project), *_models(project)):
        yield Stored(path, tuple(verify(path)), anew)


def _data(project: Project) -> Iterator[Thing]:
    """Captures, point spread functions and the teacher's predictions."""
    folders: dict[Path, tuple[Verify, str]] = {
        project.captures: (_captures, _run(project, "ingestion")),
        project.adaptation: (_captures, ADAPT),
        project.cache: (_cache, _run(project, "patch_caching")),
        project.adaptation_cache: (_cache, ADAPT),
    }
    for folder, (verify, anew) in folders.items():
        if folder.is_dir() and any(folder.iterdir()):
            yield folder, verify, anew
    banks = {
        project.psf_banks: _run(project, "ingestion"),
        project.traced_lenses: "the next command that needs it",
    }
    for folder, anew in banks.items():
        for path in sorted(folder.glob("*.safetensors")):
            yield path, _bank, anew


def _models(project: Project) -> Iterator[Thing]:
    """Models that were trained here, their checkpoints, and registered ones."""
    for path in _model_folders(project.models):
        pipeline = MODELS.get(path.relative_to(project.models).parts[0])
        yield path, _model, _run(project, pipeline) if pipeline else ADAPT
    for path in sorted(project.models.rglob("*.ckpt")):
        yield path, _checkpoint, "its training, from an earlier one"
    for path in _model_folders(project.artifacts):
        yield path, _model, "training: it registers a new version"


def _run(project: Project, pipeline: str) -> str:
    """The command line of a pipeline."""
    from rangefinder.config.project import DEFAULT_ENV

    env = "" if project.env == DEFAULT_ENV else f" --env {project.env}"
    return f"kedro run{env} --pipelines {pipeline}"


def _finding(verify: Callable[..., object], *arguments: object) -> tuple[str, ...]:
    """What a reader finds wrong; it raises for what is damaged."""
    try:
        verify(*arguments)
    except RangefinderError as error:
        return (error.finding,)
    return ()


def _captures(folder: Path) -> Iterator[str]:
    """Damaged files of a set of captures."""
    from tqdm import tqdm

    from rangefinder.captures.manifest import FILE_COLUMNS, read_captures

    if damaged := _finding(read_captures, folder):
        yield from damaged
        return
    captures = read_captures(folder)
    for index in tqdm(range(len(captures)), "Verifying", unit="capture", disable=None, delay=2.0):
        for column in FILE_COLUMNS:
            yield from _finding(captures.file, index, column)


def _cache(folder: Path) -> Iterator[str]:
    """Damaged predictions of a teacher cache."""
    from tqdm import tqdm

    from rangefinder.cache.store import read_cache

    if damaged := _finding(read_cache, folder):
        yield from damaged
        return
    cache = read_cache(folder)
    for name in tqdm(cache.index, "Verifying", unit="photo", disable=None, delay=2.0):
        yield from _finding(cache.read, name)


def _model_folders(root: Path) -> list[Path]:
    from rangefinder.models.model_files import CARD, WEIGHTS

    return sorted({path.parent for name in (CARD, WEIGHTS) for path in root.rglob(name)})


def _bank(path: Path) -> tuple[str, ...]:
    from rangefinder.optics.psf_bank import PsfBank

    return _finding(PsfBank.load, path, path.stem)


def _model(folder: Path) -> tuple[str, ...]:
    from rangefinder.models.model_files import verified_card

    return _finding(verified_card, folder)


def _checkpoint(path: Path) -> tuple[str, ...]:
    from rangefinder.training.checkpoints import read_checkpoint

    return _finding(read_checkpoint, path)
