"""Checkpoints of a training: written whole, checked when read, the one before kept.

A checkpoint is the content of `torch.save`, tensors and plain values only, and its SHA-256 at the
end. It appears under its name only when it has reached the disk, so a process or machine may stop
at any moment; what was damaged since is noticed, never trained on.
"""

from __future__ import annotations

import hashlib
import logging
import os
import shutil
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import Any, cast

import torch
from lightning.fabric.plugins.io.checkpoint_io import CheckpointIO

from rangefinder.common.files import atomic_write
from rangefinder.common.foreign import guarded
from rangefinder.errors import ModelError

LAST, BEFORE, FINAL = "last.ckpt", "before.ckpt", "final.ckpt"  # FINAL: of a finished training
_DIGEST_BYTES = hashlib.sha256().digest_size
log = logging.getLogger(__name__)


def write_checkpoint(path: Path, content: dict[str, Any]) -> None:
    """Write a checkpoint; an existing `LAST` is kept as `BEFORE`.

    Raises:
        OSError: If the disk is full or the folder cannot be written; what was there stays.
    """
    buffer = BytesIO()
    torch.save(content, buffer)
    body = buffer.getvalue()
    if path.name == LAST and path.exists():
        _keep(path, path.with_name(BEFORE))
    atomic_write(path, lambda partial: partial.write_bytes(body + hashlib.sha256(body).digest()))


def _keep(path: Path, before: Path) -> None:
    """Keep a file, which is about to be replaced, under another name."""
    before.unlink(missing_ok=True)
    try:
        os.link(path, before)
    except OSError:  # not on every disk
        shutil.copyfile(path, before)


def read_checkpoint(path: Path) -> dict[str, Any]:
    """Read a checkpoint that `write_checkpoint` wrote; no code of it is run.

    Raises:
        ModelError: If it is not there, or damaged.
    """
    with guarded(ModelError, f"the checkpoint {path} cannot be read"):
        content = path.read_bytes()
        body, digest = content[:-_DIGEST_BYTES], content[-_DIGEST_BYTES:]
        if hashlib.sha256(body).digest() != digest:
            raise ModelError(f"the checkpoint {path} is damaged")
        return cast("dict[str, Any]", torch.load(BytesIO(body), "cpu", weights_only=True))


def usable_checkpoint(folder: Path) -> Path | None:
    """The newest checkpoint of a training that is whole, with the best one that it refers to."""
    for path in (folder / name for name in (FINAL, LAST, BEFORE)):
        if path.exists() and _is_whole(path):
            return path
    return None


def _is_whole(path: Path) -> bool:
    try:
        for best in _best_of(read_checkpoint(path)):
            read_checkpoint(best)
    except ModelError as exc:
        log.warning("%s: an earlier one is taken, or the training begins anew", exc.what)
        return False
    return True


def _best_of(checkpoint: dict[str, Any]) -> list[Path]:
    """Checkpoints of the best epoch so far that one refers to."""
    states = (checkpoint.get("callbacks") or {}).values()
    paths = (state.get("best_model_path") for state in states if state.get("monitor"))
    return [Path(path) for path in paths if path]


class VerifiedCheckpointIO(CheckpointIO):
    """Lightning's checkpoints in this form."""

    def save_checkpoint(
        self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any = None
    ) -> None:
        """See `write_checkpoint`."""
        write_checkpoint(Path(path), checkpoint)

    def load_checkpoint(
        self,
        path: str | Path,
        map_location: Callable[..., Any] | None = None,
        weights_only: bool | None = None,
    ) -> dict[str, Any]:
        """See `read_checkpoint`."""
        return read_checkpoint(Path(path))

    def remove_checkpoint(self, path: str | Path) -> None:
        """Remove a checkpoint, if it is there."""
        Path(path).unlink(missing_ok=True)
