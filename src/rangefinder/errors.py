"""Errors a user can act on: what was wrong, what was found, what was expected, what to do."""

from __future__ import annotations


class RangefinderError(Exception):
    """Base of every error this package raises on purpose.

    Args:
        what: The thing that is wrong, in one short sentence.
        got: The value that was found.
        expected: What would have been accepted.
        todo: What the user can do about it.
    """

    def __init__(
        self, what: str, *, got: object = None, expected: object = None, todo: str = ""
    ) -> None:
        self.what, self.todo = what.rstrip("."), todo.strip()
        self.found = "" if got is None else str(got)
        self.expected = "" if expected is None else str(expected)
        parts = [self.what]
        if got is not None:
            parts.append(f"found {got}")
        if expected is not None:
            parts.append(f"expected {expected}")
        self.finding = message = "; ".join(parts)
        gap = "" if todo.startswith("\n") else ". "
        super().__init__(f"{message}{gap}{todo}".rstrip())


class ConfigError(RangefinderError):
    """A parameter in conf/ is unknown, missing or out of range."""


class CameraMismatchError(RangefinderError):
    """Data or weights of one camera met those of another."""


class CaptureError(RangefinderError):
    """A capture, its manifest row or one of its files cannot be used."""


class LensError(RangefinderError):
    """A prescription cannot be traced, or does not match the camera record."""


class StaleCacheError(RangefinderError):
    """A teacher cache was computed from other inputs than those requested."""


class AuditError(RangefinderError):
    """A teacher's patch loop and its cache differ."""


class ModelError(RangefinderError):
    """Weights and model card do not belong together, or cannot be read."""


class WorkerError(RangefinderError):
    """A worker process was killed."""
