"""Errors a user can act on: what was wrong, what was found, what was expected, what to do."""

from __future__ import annotations

import re

MASK = "***@"  # in the place of name and password
_LOGIN = re.compile(r"(?<=://)[^/\s?#]*@")
_SECRET = re.compile(
    r"(?i)(?<=[?&])((?:[\w-]*(?:token|key|secret|password|signature|credential)|sig)=)[^&\s'\"]+"
)


def masked(text: str) -> str:
    """A text without the credentials of the addresses in it: `http://***@host/?token=***`."""
    return _SECRET.sub(r"\1***", _LOGIN.sub(MASK, text))


class RangefinderError(Exception):
    """Base of every error this package raises on purpose.

    Args:
        what: The thing that is wrong, in one short sentence.
        got: The value that was found.
        expected: What would have been accepted.
        todo: What the user can do about it.

    Credentials of addresses in any of them are masked.
    """

    def __init__(
        self, what: str, *, got: object = None, expected: object = None, todo: str = ""
    ) -> None:
        self.what, self.todo = masked(what.rstrip(".")), masked(todo.strip())
        self.found = "" if got is None else masked(str(got))
        self.expected = "" if expected is None else masked(str(expected))
        parts = [self.what]
        if got is not None:
            parts.append(f"found {self.found}")
        if expected is not None:
            parts.append(f"expected {self.expected}")
        self.finding = message = "; ".join(parts)
        gap = "" if todo.startswith("\n") else ". "
        super().__init__(f"{message}{gap}{masked(todo)}".rstrip())


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
