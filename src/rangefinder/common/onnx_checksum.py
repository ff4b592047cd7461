"""ONNX files with their checksum: a flipped bit is noticed when one is read.

A file ends with the SHA-256 of all before, as one more entry of the model's metadata. Messages of
protocol buffers may be concatenated, so other programs read the file as it is.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

from rangefinder.errors import ModelError

_DIGITS = 64  # of a SHA-256
_ENTRY = b"\x0a\x06sha256\x12" + bytes([_DIGITS])  # this key, a value of so many bytes
_METADATA_PROPS = 14  # number of the field; 2: it has a length
_BEGIN = bytes([_METADATA_PROPS << 3 | 2, len(_ENTRY) + _DIGITS]) + _ENTRY


def with_checksum(content: bytes) -> bytes:
    """The content of an ONNX file, and its checksum at the end."""
    return content + _BEGIN + hashlib.sha256(content).hexdigest().encode()


def require_whole(path: Path) -> None:
    """Compare the content of a file with its checksum.

    Raises:
        ModelError: If it is damaged, was changed by another program, or has no checksum.
        OSError: If it cannot be read.
    """
    content = path.read_bytes()
    if with_checksum(content[: -len(_BEGIN) - _DIGITS]) != content:
        raise ModelError(
            f"{path} cannot be read as a model: damaged, or changed since it was exported",
            todo="Export it again with 'rangefinder export'.",
        )
