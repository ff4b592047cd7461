"""`rangefinder fsck`: verify everything that is stored in the project."""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from rangefinder.commands import BAD_INPUT, env_option
from rangefinder.errors import RangefinderError

if TYPE_CHECKING:
    from rangefinder.config.project import Project

Whole = TypeVar("Whole")
Verify = Callable[[Path], Iterable[str]]  # what is damaged about a file or folder
Thing = tuple[Path, Verify, str]  # file or folder, how it is verified, what makes it anew
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

    Captures, point spread functions, models, exported ones, checkpoints and the teacher's
    predictions are compared with the checksums that were written with them; reports have none.
    Nothing is changed. The exit code is 2 if something is damaged; the last column is what makes it
    anew.
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
            os.path.relpath(one.path, project.root),
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
        project.captures: (_captures, _command(project, "ingestion")),
        project.adaptation: (_captures, _command(project)),
        project.cache: (_cache, _command(project, "patch_caching")),
        project.adaptation_cache: (_cache, _command(project)),
    }
    for folder, (verify, anew) in folders.items():
        if folder.is_dir() and any(folder.iterdir()):
            yield folder, verify, anew
    banks = {
        project.psf_banks: _command(project, "ingestion"),
        project.traced_lenses: "the next command that needs it",
    }
    for folder, anew in banks.items():
        for path in sorted(folder.glob("*.safetensors")):
            yield path, _bank, anew


def _models(project: Project) -> Iterator[Thing]:
    """Models that were trained here, their checkpoints, and registered ones."""
    for path in _model_folders(project.models):
        pipeline = MODELS.get(path.relative_to(project.models).parts[0])
        yield path, _model, _command(project, pipeline)
    for path in sorted(project.models.rglob("*.ckpt")):
        yield path, _checkpoint, "its training, from an earlier one"
    for path in sorted(project.models.glob("*.onnx")):
        yield path, _exported, _command(project, "export")
    if (kept := project.artifacts) is not None:
        for path in _model_folders(kept):
            yield path, _model, "training: it registers a new version"


def _command(project: Project, pipeline: str | None = None) -> str:
    """The command that runs a pipeline, or, without one, an adaptation."""
    from rangefinder.config.project import DEFAULT_ENV

    words = "rangefinder adapt FOLDER" if pipeline is None else f"kedro run --pipelines {pipeline}"
    return words if project.env == DEFAULT_ENV else f"{words} --env {project.env}"


def _finding(verify: Callable[..., object], *arguments: object) -> tuple[str, ...]:
    """What a reader finds wrong; it raises for what is damaged."""
    try:
        verify(*arguments)
    except RangefinderError as error:
        return (error.finding,)
    return ()


def _captures(folder: Path) -> Iterator[str]:
    """Damaged files of a set of captures."""
    from rangefinder.captures.manifest import FILE_COLUMNS, CaptureSet, read_captures

    def parts(captures: CaptureSet) -> Sequence[tuple[int, str]]:
        return list(itertools.product(range(len(captures)), FILE_COLUMNS))

    return _damaged(folder, read_captures, parts, CaptureSet.file)


def _cache(folder: Path) -> Iterator[str]:
    """Damaged predictions of a teacher cache."""
    from rangefinder.cache.store import TeacherCache, read_cache

    def parts(cache: TeacherCache) -> Sequence[tuple[str]]:
        return [(name,) for name in cache.index]

    return _damaged(folder, read_cache, parts, TeacherCache.read)


def _damaged(
    folder: Path,
    read: Callable[[Path], Whole],
    parts: Callable[[Whole], Sequence[tuple[Any, ...]]],
    verify: Callable[..., object],
) -> Iterator[str]:
    """What `read` finds wrong with a folder; if nothing, what `verify` does with its parts."""
    from tqdm import tqdm

    try:
        whole = read(folder)
    except RangefinderError as error:
        yield error.finding
        return
    for part in tqdm(parts(whole), f"Verifying {folder.name}", disable=None, delay=2.0):
        yield from _finding(verify, whole, *part)


def _model_folders(root: Path) -> list[Path]:
    from rangefinder.models.model_files import CARD, WEIGHTS

    return sorted({path.parent for name in (CARD, WEIGHTS) for path in root.rglob(name)})


def _bank(path: Path) -> tuple[str, ...]:
    from rangefinder.optics.psf_bank import PsfBank

    return _finding(PsfBank.load, path, path.stem)


def _exported(path: Path) -> tuple[str, ...]:
    from rangefinder.common.onnx_checksum import require_whole

    return _finding(require_whole, path)


def _model(folder: Path) -> tuple[str, ...]:
    from rangefinder.models.model_files import verified_card

    return _finding(verified_card, folder)


def _checkpoint(path: Path) -> tuple[str, ...]:
    from rangefinder.training.checkpoints import read_checkpoint

    return _finding(read_checkpoint, path)
