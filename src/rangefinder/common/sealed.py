"""Arrays on disk with their checksum: safetensors whose bytes follow from their content alone.

Metadata of safetensors have no fixed order, so there is one entry, in JSON: the metadata of the
arrays and their SHA-256. A flipped bit is noticed when the file is read.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from rangefinder.common.files import atomic_write
from rangefinder.common.foreign import parse_json

Arrays = dict[str, NDArray[Any]]
_NOTE = "note"


def write_arrays(path: Path, arrays: Mapping[str, NDArray[Any]], metadata: Any = None) -> None:
    """Write arrays by name, and their metadata (JSON)."""
    plain = {name: np.ascontiguousarray(array) for name, array in sorted(arrays.items())}
    note = {"sha256": _digest(plain, metadata), "metadata": metadata}
    content = save(plain, {_NOTE: json.dumps(note, sort_keys=True)})
    atomic_write(path, lambda partial: partial.write_bytes(content))


def read_arrays(path: Path, names: Iterable[str]) -> tuple[Arrays, Any]:
    """Arrays of these names, and their metadata.

    Raises:
        OSError: If the file cannot be read.
        ValueError: If it is damaged, or another file.
    """
    try:
        with safe_open(path, framework="np") as file:
            note = parse_json((file.metadata() or {}).get(_NOTE, "null"))
            arrays = {name: file.get_tensor(name) for name in sorted(names)}
    except SafetensorError as exc:
        raise ValueError(str(exc)) from exc
    if not isinstance(note, dict):
        raise ValueError("of another program, or an earlier version")
    if note.get("sha256") != _digest(arrays, note.get("metadata")):
        raise ValueError("damaged: its checksum is another")
    return arrays, note.get("metadata")


def _digest(arrays: Arrays, metadata: Any) -> str:
    digest = hashlib.sha256(json.dumps(metadata, sort_keys=True).encode())
    for name, array in arrays.items():
        digest.update(f"{name} {array.dtype} {array.shape}".encode())
        digest.update(array.data)
    return digest.hexdigest()
