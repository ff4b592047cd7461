"""Datasets of the catalog: captures, models, the teacher cache, results, working folders.

Heavy modules are imported only when a dataset is used.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from kedro.io import AbstractDataset, DatasetError
from kedro_datasets import json as kedro_json

if TYPE_CHECKING:
    import pandas as pd
    from kedro_datasets._typing import ImagePreview, TablePreview
    from matplotlib.figure import Figure

    from rangefinder.cache.store import TeacherCache
    from rangefinder.camera import Camera
    from rangefinder.captures.manifest import Capture, CaptureSet
    from rangefinder.models.model_files import TrainedModel
    from rangefinder.optics.blur import TracedBlur

_DPI = 120  # of figures
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
        _write(self.path, data)

    def _exists(self) -> bool:
        return self.path.is_file()


class JSONDataset(kedro_json.JSONDataset):  # type: ignore[misc]
    """JSON, replaced atomically."""

    def save(self, data: Any) -> None:
        """Write the file."""
        _write(Path(self._filepath), json.dumps(data, **self._save_args).encode())


class CSVDataset(_AtPath["pd.DataFrame", "pd.DataFrame"]):
    """A table as CSV, replaced atomically.

    Args:
        filepath: The file.
        load_args: Options of `pandas.read_csv`.
        metadata: For hooks; not used here.
    """

    def __init__(
        self,
        filepath: str,
        load_args: dict[str, Any] | None = None,
        metadata: dict[str, Any] | None = None,
    ) -> None:
        super().__init__(filepath, metadata)
        self._load_args = load_args or {}

    def load(self) -> pd.DataFrame:
        """The table."""
        import pandas as pd

        table: pd.DataFrame = pd.read_csv(self.path, **self._load_args)
        return table

    def save(self, data: pd.DataFrame) -> None:
        """Write the file, without the index."""
        _write(self.path, data.to_csv(index=False).encode())

    def preview(self, nrows: int = 5) -> TablePreview:
        """The first rows, for Kedro-Viz."""
        return self.load().head(nrows).to_dict(orient="split")

    def _exists(self) -> bool:
        return self.path.is_file()


class ResultDataset(JSONDataset):
    """A result in JSON that may not be there, as no run has asked for it."""

    def load(self) -> Any:
        """Its content, or None."""
        return super().load() if self._exists() else None


class FigureDataset(_AtPath["Figure", "bytes | None"]):
    """A figure as PNG, which may not be there."""

    def load(self) -> bytes | None:
        """The PNG, or None."""
        return self.path.read_bytes() if self._exists() else None

    def save(self, data: Figure) -> None:
        """Draw the figure."""
        _draw(data, self.path)

    def preview(self) -> ImagePreview:
        """What Kedro-Viz shows of it."""
        return _shown(self.path)

    def _exists(self) -> bool:
        return self.path.is_file()


class FiguresDataset(_InFolder["Mapping[str, Figure]", "dict[str, bytes]"]):
    """Figures as PNG in one folder, by name.

    Args:
        filepath: The folder.
        shown: Name of the one that stands for all in Kedro-Viz.
        metadata: For hooks; not used here.
    """

    def __init__(self, filepath: str, shown: str, metadata: dict[str, Any] | None = None) -> None:
        super().__init__(filepath, metadata)
        self._shown = shown

    def load(self) -> dict[str, bytes]:
        """Each figure's PNG."""
        return {path.stem: path.read_bytes() for path in sorted(self.path.glob("*.png"))}

    def save(self, data: Mapping[str, Figure]) -> None:
        """Draw figures, then replace those of the folder in one step."""
        from rangefinder.common.files import new_folder

        with new_folder(self.path) as partial:
            for name, figure in data.items():
                _draw(figure, partial / f"{name}.png")

    def preview(self) -> ImagePreview:
        """What Kedro-Viz shows of them."""
        return _shown(self.path / f"{self._shown}.png")


def _write(path: Path, content: bytes) -> None:
    from rangefinder.common.files import atomic_write

    atomic_write(path, lambda partial: partial.write_bytes(content))


def _draw(figure: Figure, path: Path) -> None:
    from rangefinder.common.files import atomic_write

    atomic_write(path, lambda part: figure.savefig(part, format="png", dpi=_DPI))


def _shown(path: Path) -> ImagePreview:
    return base64.b64encode(path.read_bytes()).decode("ascii")


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
