"""How long something takes and how much memory it needs, measured so that it can be believed."""

from __future__ import annotations

import ctypes
import gc
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import torch

_RESET, _STATUS = Path("/proc/self/clear_refs"), Path("/proc/self/status")
_RESET_PEAK = "5"  # see proc(5)
_TURN_S = 0.3  # that one thing may take of a turn by being repeated


@dataclass(frozen=True)
class Effort:
    """How often something takes its turn.

    Attributes:
        least: Fewest turns.
        most: Most turns.
        seconds: Enough: no further turn is begun after this time.
    """

    least: int
    most: int
    seconds: float


@dataclass(frozen=True)
class Timing:
    """Repeated measurements of one thing.

    Attributes:
        seconds: Median.
        low_s: Lower quartile.
        high_s: Upper quartile.
        repeats: How many there were.
    """

    seconds: float
    low_s: float
    high_s: float
    repeats: int

    @classmethod
    def of(cls, samples: Sequence[float]) -> Timing:
        """Summarise repeated measurements [s]."""
        low, middle, high = np.quantile(samples, (0.25, 0.5, 0.75))
        return cls(float(middle), float(low), float(high), len(samples))

    def times(self, factor: float) -> Timing:
        """What `factor` times the work would take."""
        return replace(
            self,
            seconds=self.seconds * factor,
            low_s=self.low_s * factor,
            high_s=self.high_s * factor,
        )


def clock(work: Callable[[], Any], effort: Effort) -> Timing:
    """Time `work` after one call to warm up."""
    return clock_in_turns({"": work}, effort)[""]


def clock_in_turns(works: Mapping[str, Callable[[], Any]], effort: Effort) -> dict[str, Timing]:
    """Time several things, so that a machine that slows down slows down all of them.

    They take turns after one call each to warm up. What is quick is called more often in a turn.

    Args:
        works: What to time, by name.
        effort: How many turns; its seconds are for each of them.

    Returns:
        Their timings by name.
    """
    calls = {}
    for name, work in works.items():
        work()
        calls[name] = max(1, int(_TURN_S / _seconds(work)))
    samples: dict[str, list[float]] = {name: [] for name in works}
    began = time.perf_counter()
    for turn in range(effort.most):
        if turn >= effort.least and time.perf_counter() - began > effort.seconds * len(works):
            break
        for name, work in works.items():
            samples[name] += [_seconds(work) for _ in range(calls[name])]
    return {name: Timing.of(found) for name, found in samples.items()}


def _seconds(work: Callable[[], Any]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def peak_bytes(work: Callable[[], Any]) -> int | None:
    """Memory that `work` needs beyond what is held before it [bytes].

    On a GPU its memory; else what the process adds to its resident set, where the system can tell.
    """
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.reset_peak_memory_stats()
        held = torch.cuda.memory_allocated()
        work()
        return int(torch.cuda.max_memory_allocated() - held)
    _give_back()
    try:
        _RESET.write_text(_RESET_PEAK, encoding="ascii")
    except OSError:
        return None
    held = psutil.Process().memory_info().rss
    work()
    return max(0, _peak_resident() - held)


def _give_back() -> None:
    """Return freed memory to the system, or the next peak would hide in it."""
    try:
        ctypes.CDLL("libc.so.6").malloc_trim(0)
    except (OSError, AttributeError):
        return


def _peak_resident() -> int:
    line = next(x for x in _STATUS.read_text("ascii").splitlines() if x.startswith("VmHWM"))
    return int(line.split()[1]) * 1024


@contextmanager
def threads(count: int) -> Iterator[None]:
    """Let torch use `count` CPU threads for a while."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)
