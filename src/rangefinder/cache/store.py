"""The finished teacher cache on disk, as it is read.

`key.json` says what made the cache and names its index. The index, a parquet table, says in which
shard each capture's packed predictions lie, and their checksum. A shard is the predictions of some
captures, one after the other. Index and shards bear the hash of their content in their name, so
replacing `key.json` replaces the whole cache at once.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from numpy.typing import NDArray
from pydantic import ValidationError
from torch import Tensor

from rangefinder.cache.files import checksum
from rangefinder.cache.fingerprint import CacheKey
from rangefinder.config import Strict
from rangefinder.errors import StaleCacheError

ROOT = "key.json"
AGAIN = "Run the patch_caching pipeline again."


class Root(Strict):
    """Content of `key.json`."""

    fingerprint: str
    index: str
    key: CacheKey


@dataclass(frozen=True)
class Entry:
    """Where the predictions of one capture lie.

    Attributes:
        capture_id: The capture.
        content: Hash of what was swept (see `capture_contents`).
        shard: File.
        offset: First byte in it.
        rows: Rows of the patch grid.
        cols: Columns of the patch grid.
        checksum: Of the bytes.
    """

    capture_id: str
    content: str
    shard: str
    offset: int
    rows: int
    cols: int
    checksum: str


@dataclass(frozen=True)
class TeacherCache:
    """Packed teacher predictions of every unlabelled capture.

    Attributes:
        folder: Where shards, index and key lie.
        key: What made them.
        index_name: File name of the index.
        index: Of each capture: where its predictions lie.
    """

    folder: Path
    key: CacheKey
    index_name: str
    index: Mapping[str, Entry]
    _maps: dict[str, NDArray[np.uint8]] = field(default_factory=dict, repr=False, compare=False)
    _sound: set[str] = field(default_factory=set, repr=False, compare=False)

    @property
    def fingerprint(self) -> str:
        """Hash of the key."""
        return self.key.fingerprint

    @property
    def files(self) -> set[str]:
        """Names of all files of this cache."""
        return {ROOT, self.index_name} | {entry.shard for entry in self.index.values()}

    def read(self, capture_id: str) -> Tensor:
        """Packed predictions `[rows, cols, bytes]` uint8 of one capture.

        They stay on disk, mapped into memory; they are checked when they are first read.

        Raises:
            StaleCacheError: If the capture was never swept, or its shard is damaged.
        """
        entry = self.index.get(capture_id)
        if entry is None:
            raise StaleCacheError(
                "the teacher cache does not hold this capture",
                got=capture_id,
                expected=f"one of its {len(self.index)} captures",
                todo=AGAIN,
            )
        data = self.sound_bytes(entry)
        if data is None:
            raise StaleCacheError(
                f"{self.folder / entry.shard} is damaged",
                got=f"other bytes for capture {capture_id}",
                expected=f"checksum {entry.checksum}",
                todo=f"{AGAIN} It computes what is damaged anew.",
            )
        return torch.from_numpy(data.reshape(entry.rows, entry.cols, self.key.cell_bytes))

    def sound_bytes(self, entry: Entry) -> NDArray[np.uint8] | None:
        """Bytes of an entry, or None if they are not what was written."""
        size = entry.rows * entry.cols * self.key.cell_bytes
        try:
            data = self._map(entry.shard)[entry.offset : entry.offset + size]
        except (OSError, ValueError):  # gone, or empty
            return None
        if entry.capture_id not in self._sound:
            if data.size != size or checksum(data) != entry.checksum:
                return None
            self._sound.add(entry.capture_id)
        return data

    def _map(self, shard: str) -> NDArray[np.uint8]:
        if shard not in self._maps:
            # Mode "c": whoever changes what it got changes its own memory, never the file.
            self._maps[shard] = np.memmap(self.folder / shard, dtype=np.uint8, mode="c")
        return self._maps[shard]


def read_cache(folder: Path) -> TeacherCache:
    """Open a finished cache.

    Raises:
        StaleCacheError: If there is none, or its key or index are damaged.
    """
    try:
        root = Root.model_validate(json.loads((folder / ROOT).read_text(encoding="utf-8")))
        table = (folder / root.index).read_bytes()
        if index_name(table) != root.index:
            raise ValueError(f"{root.index} is damaged: its checksum is another")
        if root.fingerprint != root.key.fingerprint:
            raise ValueError(f"{ROOT} is damaged: its fingerprint is another")
        rows = pq.read_table(pa.BufferReader(table)).to_pylist()
        index = {row["capture_id"]: Entry(**row) for row in rows}
    except (OSError, ValueError, TypeError, ValidationError) as exc:
        raise StaleCacheError(f"no teacher cache in {folder} ({exc})", todo=AGAIN) from exc
    return TeacherCache(folder, root.key, root.index, index)


def index_table(entries: list[Entry]) -> bytes:
    """The index as parquet; the same entries give the same bytes."""
    sink = pa.BufferOutputStream()
    pq.write_table(pa.Table.from_pylist([asdict(entry) for entry in entries]), sink)
    return bytes(sink.getvalue())


def index_name(table: bytes) -> str:
    """File name of an index."""
    return f"index-{checksum(table)}.parquet"
