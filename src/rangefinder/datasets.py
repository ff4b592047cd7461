"""Datasets of the catalog: captures, models, the teacher cache, working folders.

Heavy modules are imported only when a dataset is used.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from kedro.io import AbstractDataset, DatasetError

if TYPE_CHECKING:
    from rangefinder.cache.store import TeacherCache
    from rangefinder.camera import Camera
    from rangefinder.captures.manifest import Capture, CaptureSet
    from rangefinder.models.model_files import TrainedModel
    from rangefinder.optics.blur import TracedBlur

Saved = TypeVar("Saved")
Loaded = TypeVar("Loaded")


class _AtPath(AbstractDataset[Saved, Loaded], Generic[Saved, Loaded]):
    """A dataset in one file or folder.

    Args:
        filepath: The file or folder.
        metadata: For hooks; not used here.
    """

    def __init__(self, filepath: str, metadata: dict[str, Any] | None = None) -> None:
        self.path = Path(filepath)
        self.metadata = metadata

    def _describe(self) -> dict[str, Any]:
        return {"filepath": str(self.path)}


class _InFolder(_AtPath[Saved, Loaded], Generic[Saved, Loaded]):
    """A dataset in one folder."""

    def _exists(self) -> bool:
        return self.path.is_dir() and any(self.path.iterdir())


class FolderDataset(_InFolder[None, Path]):
    """A working folder; loading makes it."""

    def load(self) -> Path:
        """Path of the folder, which then exists."""
        self.path.mkdir(parents=True, exist_ok=True)
        return self.path

    def save(self, data: None) -> None:
        """Raise: a working folder is filled by the node that loads it."""
        raise DatasetError(f"{self.path} is a working folder: make it a node's input")

    def _exists(self) -> bool:
        return True


class CaptureSetDataset(
    _InFolder["tuple[Camera, Iterable[Capture], TracedBlur | None]", "CaptureSet"]
):
    """Captures: images, manifest, camera record and blur; saved one capture at a time."""

    def load(self) -> CaptureSet:
        """The captures of the folder."""
        from rangefinder.captures.manifest import read_captures

        return read_captures(self.path)

    def save(self, data: tuple[Camera, Iterable[Capture], TracedBlur | None]) -> None:
        """Write all captures of one camera, replacing those of the folder."""
        from rangefinder.captures.manifest import write_captures

        write_captures(self.path, *data)


class ModelDataset(_InFolder["TrainedModel", "TrainedModel"]):
    """Teacher or student: weights and card."""

    def load(self) -> TrainedModel:
        """The model of the folder."""
        from rangefinder.models.model_files import load_model

        return load_model(self.path)

    def save(self, data: TrainedModel) -> None:
        """Write weights and card."""
        from rangefinder.models.model_files import save_model

        save_model(self.path, data)


class ContentDataset(_AtPath[bytes, bytes]):
    """A file by its content, replaced atomically."""

    def load(self) -> bytes:
        """Content of the file."""
        return self.path.read_bytes()

    def save(self, data: bytes) -> None:
        """Write the file."""
        from rangefinder.common.files import atomic_write

        atomic_write(self.path, lambda path: path.write_bytes(data))

    def _exists(self) -> bool:
        return self.path.is_file()


class TeacherCacheDataset(_InFolder["TeacherCache", "TeacherCache"]):
    """The teacher cache, which is written while it is filled."""

    def load(self) -> TeacherCache:
        """The cache of the folder."""
        from rangefinder.cache.store import read_cache

        return read_cache(self.path)

    def save(self, data: TeacherCache) -> None:
        """Check that the cache was filled in this folder."""
        if data.folder.resolve() != self.path.resolve():
            raise DatasetError(f"the cache is in {data.folder}, the catalog has {self.path}")
