"""Crashes at every operation on files: a forked process ends before the first, the second, ..."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

OPERATIONS = {"open", "os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.link", "os.truncate"}
CRASHED = 9


def after_crashes(before: Path, work: Callable[[Path], object]) -> Iterator[tuple[int, Path]]:
    """Folders in which `work` was stopped at each of its operations, and the last, where it ended.

    Args:
        before: A folder, which is copied each time.
        work: What is done in a copy; it gets the copy.

    Yields:
        Number of the operation that was not done any more, and the copy; it is removed afterwards.
    """
    number, status = 0, CRASHED
    while status == CRASHED:
        copy = before.with_name(f"{before.name}-crashed")
        shutil.copytree(before, copy)
        status = _crash(number, lambda folder=copy: work(folder), str(copy))
        assert status in {0, CRASHED}
        yield number, copy
        shutil.rmtree(copy)
        number += 1


def _crash(number: int, work: Callable[[], object], place: str) -> int:
    """Exit status of a forked process that ends before its operation `number` below `place`."""
    if (child := os.fork()) == 0:
        left = number

        def count(event: str, arguments: tuple[object, ...]) -> None:
            nonlocal left
            if event in OPERATIONS and str(arguments[0]).startswith(place):
                if left == 0:
                    os._exit(CRASHED)
                left -= 1

        try:
            sys.addaudithook(count)
            work()
        except BaseException:
            os._exit(1)
        os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
