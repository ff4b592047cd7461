"""What MLflow could not take, on the disk: operations of a run in their order, with their files.

An operation is a folder, which appears whole, or not at all, and goes when it was sent.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Self

from rangefinder.common.files import atomic_write, new_folder
from rangefinder.common.foreign import guarded, read_json
from rangefinder.errors import ModelError
from rangefinder.tracking.mlflow_run import Start

RUN, OPERATION = "run.json", "operation.json"


@dataclass(frozen=True)
class Begun:
    """A run of which something was not sent.

    Attributes:
        start: What it began with.
        store: Where it began, without credentials; None: nowhere yet.
        ids: Of experiment, run and parent there.
    """

    start: Start
    store: str | None = None
    ids: tuple[str, str, str | None] | None = None


@dataclass
class Spool:
    """The operations of one run that were not sent."""

    folder: Path
    begun: Begun
    _number: int = field(default=0)

    @classmethod
    def new(cls, unsent: Path, begun: Begun) -> Self:
        """An empty one."""
        spool = cls(unsent / begun.start.key, begun)
        spool.keep(begun)
        return spool

    @classmethod
    def read(cls, folder: Path) -> Self:
        """That of a folder.

        Raises:
            ModelError: If the folder holds none.
        """
        with guarded(ModelError, f"{folder} holds no run that could be sent", todo="Remove it."):
            content = read_json(folder / RUN)
            ids = content["ids"]
            start = Start(**content["start"])
            return cls(folder, Begun(start, content["store"], tuple(ids) if ids else None))

    def keep(self, begun: Begun) -> None:
        """Write down where the run has begun."""
        self.begun = begun
        text = json.dumps(asdict(begun), indent=2)
        atomic_write(self.folder / RUN, lambda path: path.write_text(text, encoding="utf-8"))

    def began(self, store: str, ids: tuple[str, str, str | None]) -> None:
        """Write down that the run has begun."""
        self.keep(replace(self.begun, store=store, ids=ids))

    def append(self, name: str, arguments: Mapping[str, Any]) -> None:
        """Keep an operation; files and folders among its arguments are copied."""
        self._number += 1
        with new_folder(self.folder / f"{self._number:06d}") as folder:
            files = {key: value for key, value in arguments.items() if isinstance(value, Path)}
            for key, path in files.items():
                _copy(path, folder / key / path.name)
            content = {
                "name": name,
                "arguments": {key: value for key, value in arguments.items() if key not in files},
                "files": {key: path.name for key, path in files.items()},
            }
            (folder / OPERATION).write_text(json.dumps(content), encoding="utf-8")

    def operations(self) -> list[Path]:
        """Folders of the operations, in their order."""
        return sorted(path.parent for path in self.folder.glob(f"[0-9]*/{OPERATION}"))

    @property
    def has_ended(self) -> bool:
        """Whether the run's end is among the operations."""
        return bool(found := self.operations()) and operation(found[-1])[0] == "end"

    def remove(self) -> None:
        """Remove what is left when all was sent."""
        (self.folder / RUN).unlink()  # from here on it is no run
        shutil.rmtree(self.folder)


def operation(folder: Path) -> tuple[str, dict[str, Any]]:
    """Name and arguments of an operation.

    Raises:
        ModelError: If they cannot be read.
    """
    with guarded(ModelError, f"{folder} holds no operation that could be sent"):
        content = read_json(folder / OPERATION)
        files = {key: folder / key / name for key, name in content["files"].items()}
        return content["name"], {**content["arguments"], **files}


def sent(folder: Path) -> None:
    """Forget an operation."""
    (folder / OPERATION).unlink()  # from here on it is not sent again
    shutil.rmtree(folder)


def unsent(folder: Path) -> list[Path]:
    """Folders of runs of which something was not sent, the oldest first."""
    found = [path.parent for path in folder.glob(f"*/{RUN}")]
    return sorted(found, key=lambda path: (path / RUN).stat().st_mtime)


def _copy(source: Path, target: Path) -> None:
    target.parent.mkdir()
    if source.is_dir():
        shutil.copytree(source, target)
    else:
        shutil.copy(source, target)
