"""Putting a finished cache together: shards, index and key, whole at every moment.

The bytes depend on the key alone, not on when a process was killed or on which captures were
swept first: captures stand in the order of their ids, and a shard ends where it is full.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from tqdm import tqdm

from rangefinder.cache.files import Packed, checksum, durable, install, sync_folder
from rangefinder.cache.fingerprint import CacheKey
from rangefinder.cache.store import AGAIN, ROOT, Entry, Root, TeacherCache, index_name, index_table
from rangefinder.errors import StaleCacheError

SHARD_BYTES = 32 * 2**20
OURS = ("shard-*", "index*")  # files that may be removed from the cache's folder


@dataclass(frozen=True)
class Wanted:
    """One capture that belongs into a cache.

    Attributes:
        index: Its row in the table of captures.
        capture_id: Its id.
        content: Hash of what is swept.
        rows: Rows of its patch grid.
        cols: Columns of its patch grid.
    """

    index: int
    capture_id: str
    content: str
    rows: int
    cols: int


def publish(
    folder: Path,
    work: Path,
    key: CacheKey,
    wanted: list[Wanted],
    packed: Callable[[Wanted], Packed | None],
) -> TeacherCache:
    """Write the cache of `wanted` and let it take the place of what `folder` holds.

    Args:
        folder: The cache's folder. Until the last step its former cache stays readable.
        work: Folder on the same file system for files that are not finished.
        key: What made the predictions.
        wanted: The captures, in order of their ids.
        packed: The packed predictions of a capture.

    Returns:
        The finished cache.

    Raises:
        StaleCacheError: If the predictions of a capture vanished meanwhile.
    """
    folder.mkdir(parents=True, exist_ok=True)
    entries: list[Entry] = []
    with tqdm(total=len(wanted), desc="Storing", unit="photo", disable=None, delay=2.0) as bar:
        for batch in _shards(wanted, key.cell_bytes):
            entries += _write_shard(folder, work / "shard.partial", batch, packed)
            bar.update(len(batch))
    table = index_table(entries)
    root = Root(fingerprint=key.fingerprint, index=index_name(table), key=key)
    for name, data in ((root.index, table), (ROOT, _json(root))):
        with durable(work / f"{name}.partial") as file:
            file.write(data)
        install(work / f"{name}.partial", folder / name)
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


def _shards(wanted: Iterable[Wanted], cell_bytes: int) -> Iterator[list[Wanted]]:
    batch: list[Wanted] = []
    size = 0
    for one in wanted:
        batch.append(one)
        size += one.rows * one.cols * cell_bytes
        if size >= SHARD_BYTES:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch


def _write_shard(
    folder: Path, partial: Path, batch: list[Wanted], packed: Callable[[Wanted], Packed | None]
) -> list[Entry]:
    digest, entries, offset = hashlib.sha256(), [], 0
    with durable(partial) as file:
        for one in batch:
            data = packed(one)
            if data is None:
                raise StaleCacheError(
                    f"the predictions of capture {one.capture_id} vanished while the cache was "
                    "put together",
                    todo=AGAIN,
                )
            file.write(data.data)
            digest.update(data.data)
            shape = one.rows, one.cols
            entries.append(Entry(one.capture_id, one.content, "", offset, *shape, checksum(data)))
            offset += len(data)
    name = f"shard-{digest.hexdigest()[:16]}.bin"
    install(partial, folder / name)
    return [replace(entry, shard=name) for entry in entries]


def _json(root: Root) -> bytes:
    return (root.model_dump_json(indent=2) + "\n").encode()
