"""The store: packed predictions in shards, an index, and a key; complete at every moment.

The bytes depend on the key alone, not on when a process was killed or on which captures were swept
first: captures are sorted by id, and a shard ends where it is full.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from numpy.typing import NDArray
from pydantic import ValidationError
from torch import Tensor
from tqdm import tqdm

from rangefinder.cache.key import RERUN, CacheKey, cache_key
from rangefinder.captures.manifest import CaptureSet
from rangefinder.common.files import checksum, durable_file, replace_durably, sync_folder
from rangefinder.common.foreign import read_json
from rangefinder.config import Strict
from rangefinder.errors import StaleCacheError
from rangefinder.models.model_files import TrainedModel

Packed = NDArray[np.uint8]
ROOT = "key.json"
SHARD_BYTES = 32 * 2**20
OURS = ("shard-*", "index*")  # files that may be removed from the cache's folder


class Root(Strict):
    """Content of `key.json`."""

    fingerprint: str
    index: str
    key: CacheKey


@dataclass(frozen=True)
class Entry:
    """Where the predictions of one capture lie; `content` is the hash of what was swept."""

    capture_id: str
    content: str
    shard: str
    offset: int
    rows: int
    cols: int
    checksum: str


@dataclass(frozen=True)
class CacheEntrySpec:
    """One capture that belongs in a cache: its row in the table, hash of what is swept, grid."""

    index: int
    capture_id: str
    content: str
    rows: int
    cols: int


@dataclass(frozen=True)
class TeacherCache:
    """Packed teacher predictions of every unlabelled capture."""

    folder: Path  # of shards, index and key
    key: CacheKey  # what the predictions depend on
    index_name: str  # file name of the index
    index: Mapping[str, Entry]  # entry of each capture, by capture_id
    _maps: dict[str, Packed] = field(default_factory=dict, repr=False, compare=False)
    _verified: set[str] = field(default_factory=set, repr=False, compare=False)

    @property
    def fingerprint(self) -> str:
        """Hash of the key."""
        return self.key.fingerprint

    def require(self, teacher: TrainedModel, captures: CaptureSet) -> None:
        """Refuse a cache that is not this teacher's over the unlabelled training captures.

        Raises:
            StaleCacheError: Naming the first field of the key that differs.
        """
        cache_key(teacher, captures.select(role="unlabelled", split="train")).require(self.key)

    @property
    def files(self) -> set[str]:
        """Names of all files of this cache."""
        return {ROOT, self.index_name} | {entry.shard for entry in self.index.values()}

    def read(self, capture_id: str) -> Tensor:
        """Packed predictions `[rows, cols, bytes]` uint8 of one capture, mapped from disk.

        Their checksum is verified on the first reading.

        Raises:
            StaleCacheError: If the capture was never swept, or its shard is damaged.
        """
        entry = self.index.get(capture_id)
        if entry is None:
            raise StaleCacheError(
                "the teacher cache does not hold this capture",
                got=capture_id,
                expected=f"one of its {len(self.index)} captures",
                todo=RERUN,
            )
        data = self.verified_bytes(entry)
        if data is None:
            raise StaleCacheError(
                f"{self.folder / entry.shard} is damaged",
                got=f"other bytes for capture {capture_id}",
                expected=f"checksum {entry.checksum}",
                todo=f"{RERUN} It recomputes what is damaged.",
            )
        return torch.from_numpy(data.reshape(entry.rows, entry.cols, self.key.cell_bytes))

    def verified_bytes(self, entry: Entry) -> Packed | None:
        """Bytes of an entry, or None if they are not what was written."""
        size = entry.rows * entry.cols * self.key.cell_bytes
        try:
            data = self._map(entry.shard)[entry.offset : entry.offset + size]
        except (OSError, ValueError):  # gone, or empty
            return None
        if entry.capture_id not in self._verified:
            if data.size != size or checksum(data) != entry.checksum:
                return None
            self._verified.add(entry.capture_id)
        return data

    def _map(self, shard: str) -> Packed:
        if shard not in self._maps:
            # Mode "c" (copy on write): changes to the array never reach the file.
            self._maps[shard] = np.memmap(self.folder / shard, dtype=np.uint8, mode="c")
        return self._maps[shard]


def read_cache(folder: Path) -> TeacherCache:
    """Open a finished cache.

    Raises:
        StaleCacheError: If there is none, or its key or index is damaged.
    """
    try:
        root = Root.model_validate(read_json(folder / ROOT))
        table = (folder / root.index).read_bytes()
        if _index_name(table) != root.index:
            raise ValueError(f"{root.index} is damaged: its checksum is another")
        if root.fingerprint != root.key.fingerprint:
            raise ValueError(f"{ROOT} is damaged: its fingerprint is another")
        rows = pq.read_table(pa.BufferReader(table)).to_pylist()
        index = {row["capture_id"]: Entry(**row) for row in rows}
    except (OSError, ValueError, TypeError, ValidationError) as exc:
        raise StaleCacheError(f"no teacher cache in {folder} ({exc})", todo=RERUN) from exc
    return TeacherCache(folder, root.key, root.index, index)


def publish(
    folder: Path,
    work: Path,
    key: CacheKey,
    specs: list[CacheEntrySpec],
    packed: Callable[[CacheEntrySpec], Packed | None],
) -> TeacherCache:
    """Write a cache, which takes the place of what `folder` holds.

    Args:
        folder: The cache's folder. Until the last step its former cache stays readable.
        work: Folder on the same file system for unfinished files.
        key: What the predictions depend on.
        specs: The captures, sorted by id.
        packed: Returns the packed predictions of a capture.

    Returns:
        The finished cache.

    Raises:
        StaleCacheError: If the predictions of a capture vanished meanwhile.
    """
    folder.mkdir(parents=True, exist_ok=True)
    entries: list[Entry] = []
    with tqdm(total=len(specs), desc="Storing", unit="photo", disable=None, delay=2.0) as bar:
        for batch in _shards(specs, key.cell_bytes):
            entries += _write_shard(folder, work / "shard.partial", batch, packed)
            bar.update(len(batch))
    sink = pa.BufferOutputStream()
    pq.write_table(pa.Table.from_pylist([asdict(entry) for entry in entries]), sink)
    table = bytes(sink.getvalue())
    root = Root(fingerprint=key.fingerprint, index=_index_name(table), key=key)
    text = root.model_dump_json(indent=2) + "\n"
    for name, data in ((root.index, table), (ROOT, text.encode())):
        with durable_file(work / f"{name}.partial") as file:
            file.write(data)
        replace_durably(work / f"{name}.partial", folder / name)
    cache = TeacherCache(folder, key, root.index, {entry.capture_id: entry for entry in entries})
    remove_others(cache)
    return cache


def remove_others(cache: TeacherCache) -> None:
    """Remove shards and indices that are not of this cache."""
    for pattern in OURS:
        for path in cache.folder.glob(pattern):
            if path.name not in cache.files:
                path.unlink()
    sync_folder(cache.folder)


def _index_name(table: bytes) -> str:
    return f"index-{checksum(table)}.parquet"


def _shards(specs: list[CacheEntrySpec], cell_bytes: int) -> Iterator[list[CacheEntrySpec]]:
    batch: list[CacheEntrySpec] = []
    size = 0
    for spec in specs:
        batch.append(spec)
        size += spec.rows * spec.cols * cell_bytes
        if size >= SHARD_BYTES:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch


def _write_shard(
    folder: Path,
    partial: Path,
    batch: list[CacheEntrySpec],
    packed: Callable[[CacheEntrySpec], Packed | None],
) -> list[Entry]:
    digest, entries, offset = hashlib.sha256(), [], 0
    with durable_file(partial) as file:
        for spec in batch:
            data = packed(spec)
            if data is None:
                raise StaleCacheError(
                    f"the predictions of capture {spec.capture_id} vanished while the cache was "
                    "written",
                    todo=RERUN,
                )
            file.write(data.data)
            digest.update(data.data)
            shape = spec.rows, spec.cols
            entries.append(Entry(spec.capture_id, spec.content, "", offset, *shape, checksum(data)))
            offset += len(data)
    name = f"shard-{digest.hexdigest()[:16]}.bin"
    replace_durably(partial, folder / name)
    return [replace(entry, shard=name) for entry in entries]
