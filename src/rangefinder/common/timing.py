"""Time and memory of pieces of work, measured reproducibly."""

from __future__ import annotations

import time
import timeit
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

_RESET, _STATUS = Path("/proc/self/clear_refs"), Path("/proc/self/status")
_RESET_PEAK = "5"  # see proc(5)
Name = TypeVar("Name", bound=Hashable)
_TURN_S = 0.3  # of calls of the same work in one turn


@dataclass(frozen=True)
class Effort:
    """Number of turns; after `min_turns` none begins later than `seconds` for each work."""

    min_turns: int
    max_turns: int
    seconds: float


@dataclass(frozen=True)
class Timing:
    """Median and quartiles [s] of repeated measurements of the same work."""

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
        """Timing of `factor` times the work."""
        scaled = {name: getattr(self, name) * factor for name in ("seconds", "low_s", "high_s")}
        return replace(self, **scaled)


def time_in_turns(works: Mapping[Name, Callable[[], Any]], effort: Effort) -> dict[Name, Timing]:
    """Time several works in turns, so that a machine that slows down slows down all of them.

    Each is called twice before, to warm up; quick ones are called more often in a turn.
    (`torch.utils.benchmark.Timer` warms up twice in every call of `timeit`: with one call a turn,
    as here for slow works, that would take three times as long.)

    Args:
        works: What to time, by name.
        effort: Number of turns; its seconds are for each work.

    Returns:
        Timings by name.
    """
    calls = {}
    for name, work in works.items():
        work()
        calls[name] = max(1, int(_TURN_S / timeit.timeit(work, number=1)))
    samples: dict[Name, list[float]] = {name: [] for name in works}
    start = time.perf_counter()
    for turn in range(effort.max_turns):
        if turn >= effort.min_turns and time.perf_counter() - start > effort.seconds * len(works):
            break
        for name, work in works.items():
            samples[name] += timeit.repeat(work, number=1, repeat=calls[name])
    return {name: Timing.of(seconds) for name, seconds in samples.items()}


def reset_peak_memory() -> bool:
    """Forget the largest resident set of this process so far; False where that cannot be done."""
    try:
        _RESET.write_text(_RESET_PEAK, encoding="ascii")
    except OSError:
        return False
    return True


def peak_memory_bytes() -> int:
    """Largest resident set of this process since `reset_peak_memory`, without its children."""
    line = next(x for x in _STATUS.read_text("ascii").splitlines() if x.startswith("VmHWM"))
    return int(line.split()[1]) * 1024
