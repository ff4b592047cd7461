"""Files from elsewhere: whatever a reader stumbles on becomes one clear, short error."""

from __future__ import annotations

import json
import logging
import reprlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rangefinder.errors import RangefinderError, masked

REASON_LENGTH = 200  # characters of what a reader says, or of a value that is not valid
MOST_BYTES = 64 * 2**20  # of a text file: records, cards, tables' notes
_short = reprlib.Repr()
_short.maxlevel, _short.maxstring, _short.maxother = 3, REASON_LENGTH, REASON_LENGTH


def reason(exc: BaseException) -> str:
    """Message of an exception, on one line, not too long, and without credentials."""
    said = exc.strerror if isinstance(exc, OSError) and exc.strerror else str(exc)
    return shortened(masked(" ".join(said.split())) or type(exc).__name__)


class _MaskedRecord(logging.LogRecord):
    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if self.exc_info and self.exc_info[0] is not None:
            self.exc_text = masked(logging.Formatter().formatException(self.exc_info))

    def getMessage(self) -> str:  # noqa: N802
        return masked(super().getMessage())


def mask_log_lines() -> None:
    """Mask the credentials of addresses in this process's log lines, those of libraries, too."""
    logging.setLogRecordFactory(_MaskedRecord)


def shortened(text: str) -> str:
    """A text, cut where it is too long for a message."""
    return text if len(text) <= REASON_LENGTH else f"{text[: REASON_LENGTH - 3]}..."


def short_repr(value: object) -> str:
    """`repr` of a value from elsewhere, cut in depth and length before it is made."""
    return shortened(_short.repr(value))


@contextmanager
def guarded(error: type[RangefinderError], what: str, **details: Any) -> Iterator[None]:
    """Turn any exception of a reader into one error; readers raise whatever they stumble on.

    Args:
        error: Its class; errors of this package pass as they are.
        what: What is wrong, such as "x.tif cannot be read"; the reason is added.
        details: `got`, `expected` and `todo` of the error.
    """
    try:
        yield
    except RangefinderError:
        raise
    except Exception as exc:
        raise error(f"{what} ({reason(exc)})", **details) from exc


def read_json(path: Path) -> Any:
    """Content of a JSON file.

    Raises:
        OSError: If it cannot be read.
        ValueError: If it is too large, nested too deeply, or no JSON.
    """
    if (size := path.stat().st_size) > MOST_BYTES:
        raise ValueError(f"{size} bytes are too many for JSON")
    return parse_json(path.read_text(encoding="utf-8"))


def parse_json(text: str) -> Any:
    """Content of a text in JSON.

    Raises:
        ValueError: If it is nested too deeply, or no JSON.
    """
    try:
        return json.loads(text)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
