"""The teacher cache on disk: shards of packed predictions, an index, and the key they belong to.

A shard is one `.npy` array of bytes holding the predictions of some captures one after the other;
`index.parquet` says where each capture's bytes are; `key.json` says what made them.
"""

from __future__ import annotations

import json
import math
import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from numpy.typing import NDArray
from pydantic import ValidationError
from torch import Tensor

from rangefinder.cache.fingerprint import CacheKey
from rangefinder.errors import StaleCacheError

INDEX, KEY = "index.parquet", "key.json"
SHARD_BYTES = 32 * 2**20


@dataclass(frozen=True)
class TeacherCache:
    """Packed teacher predictions of every unlabelled capture.

    Attributes:
        folder: Where shards, index and key lie.
        key: What made them.
    """

    folder: Path
    key: CacheKey

    @property
    def fingerprint(self) -> str:
        """Hash of the key."""
        return self.key.fingerprint

    @cached_property
    def index(self) -> dict[str, dict[str, Any]]:
        """Of each capture: shard, offset, rows, cols."""
        return {row["capture_id"]: row for row in pq.read_table(self.folder / INDEX).to_pylist()}

    @cached_property
    def _shards(self) -> dict[str, NDArray[np.uint8]]:
        names = {row["shard"] for row in self.index.values()}
        return {name: np.load(self.folder / name, mmap_mode="r") for name in names}

    def read(self, capture_id: str) -> Tensor:
        """Packed predictions `[rows, cols, bytes]` uint8 of one capture.

        Raises:
            StaleCacheError: If the capture was never swept.
        """
        if capture_id not in self.index:
            raise StaleCacheError(
                "the teacher cache does not hold this capture",
                got=capture_id,
                expected=f"one of its {len(self.index)} captures",
                todo="Run the patch_caching pipeline again.",
            )
        place = self.index[capture_id]
        shape = place["rows"], place["cols"], self.packed_bytes
        start = place["offset"]
        data = self._shards[place["shard"]][start : start + math.prod(shape)]
        return torch.from_numpy(data.reshape(shape).copy())

    @property
    def packed_bytes(self) -> int:
        """Bytes of one grid cell."""
        return -(-self.key.bins // 2)


def write_cache(
    folder: Path, key: CacheKey, predictions: Iterator[tuple[str, Tensor]]
) -> TeacherCache:
    """Store predictions; an older cache stays whole until the new one is.

    Args:
        folder: The cache's folder.
        key: What made the predictions.
        predictions: capture_id and packed predictions `[rows, cols, bytes]`, one by one.

    Returns:
        The finished cache.
    """
    partial = folder.with_name(f"{folder.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    rows: list[dict[str, object]] = []
    pending: list[NDArray[np.uint8]] = []
    shard, offset = 0, 0
    for capture_id, packed in predictions:
        data = packed.numpy().reshape(-1)
        name = f"shard-{shard:05d}.npy"
        rows.append(
            {
                "capture_id": capture_id,
                "shard": name,
                "offset": offset,
                "rows": packed.shape[0],
                "cols": packed.shape[1],
            }
        )
        pending.append(data)
        offset += data.size
        if offset >= SHARD_BYTES:
            _write_shard(partial / name, pending)
            pending, offset, shard = [], 0, shard + 1
    if pending:
        _write_shard(partial / f"shard-{shard:05d}.npy", pending)
    pq.write_table(pa.Table.from_pylist(rows), partial / INDEX)
    (partial / KEY).write_text(key.model_dump_json(indent=2) + "\n", encoding="utf-8")
    shutil.rmtree(folder, ignore_errors=True)
    partial.replace(folder)
    return TeacherCache(folder, key)


def read_cache(folder: Path) -> TeacherCache:
    """Open a finished cache.

    Raises:
        StaleCacheError: If there is none.
    """
    try:
        key = CacheKey.model_validate(json.loads((folder / KEY).read_text(encoding="utf-8")))
    except (OSError, ValueError, ValidationError) as exc:
        raise StaleCacheError(
            f"no teacher cache in {folder} ({exc})", todo="Run the patch_caching pipeline."
        ) from exc
    return TeacherCache(folder, key)


def _write_shard(path: Path, parts: list[NDArray[np.uint8]]) -> None:
    with path.open("wb") as file:
        np.save(file, np.concatenate(parts))
        file.flush()
        os.fsync(file.fileno())
