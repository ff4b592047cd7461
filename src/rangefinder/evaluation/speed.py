"""What the benchmark finds: one record per case, and ratios between them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from rangefinder.evaluation.timing import Timing

PATCH_LOOP, MONAI, DENSE, STUDENT = "patch_loop", "monai", "dense", "student"
METHODS = (PATCH_LOOP, MONAI, DENSE, STUDENT)
FRAMES = "student_frames_per_s_480x360"
FRAME_PX = (480, 360)
FINE, USUAL = 1, 4  # strides that the ratios are named after


@dataclass(frozen=True)
class Setting:
    """What is measured.

    Attributes:
        method: One of `METHODS`.
        size_px: (width, height) of the photo.
        stride_px: Stride of the patch grid; None where every pixel is answered (student).
        threads: CPU threads.
    """

    method: str
    size_px: tuple[int, int]
    stride_px: int | None
    threads: int


@dataclass(frozen=True)
class Case:
    """One setting and what was found.

    Attributes:
        setting: What was measured.
        timing: For the whole photo.
        extrapolated: Whether a sample of patches was measured and scaled by count.
        multiply_adds: For the whole photo.
        share_of_matmul: Achieved rate / rate of a large matrix product on as many threads.
        peak_bytes: Memory beyond what was held before; of the sample where extrapolated.
    """

    setting: Setting
    timing: Timing
    extrapolated: bool
    multiply_adds: int
    share_of_matmul: float
    peak_bytes: int | None

    def record(self) -> dict[str, Any]:
        """The case for JSON."""
        width, height = self.setting.size_px
        return {
            "method": self.setting.method,
            "width_px": width,
            "height_px": height,
            "stride_px": self.setting.stride_px,
            "threads": self.setting.threads,
            **asdict(self.timing),
            "extrapolated": self.extrapolated,
            "multiply_adds": self.multiply_adds,
            "multiply_adds_per_s": self.multiply_adds / self.timing.seconds,
            "share_of_matmul": self.share_of_matmul,
            "peak_bytes": self.peak_bytes,
        }


def ratios(
    cases: Iterable[Case], size_px: tuple[int, int], threads: int, epochs: Mapping[str, float]
) -> dict[str, float | None]:
    """Each `X_vs_Y` is time of Y / time of X; None where one of them was not measured.

    Args:
        cases: All cases.
        size_px: Photo that the ratios are taken at.
        threads: CPU threads that they are taken at.
        epochs: Seconds of an epoch by where its targets come from.
    """
    seconds = {
        (case.setting.method, case.setting.stride_px): case.timing.seconds
        for case in cases
        if case.setting.size_px == size_px and case.setting.threads == threads
    }

    def faster(one: tuple[str, int | None], other: tuple[str, int | None]) -> float | None:
        return _ratio(seconds.get(other), seconds.get(one))

    student, dense = (STUDENT, None), (DENSE, USUAL)
    cached = epochs.get("cached")
    return {
        "dense_vs_patch_loop_stride4": faster(dense, (PATCH_LOOP, USUAL)),
        "dense_vs_monai_stride4": faster(dense, (MONAI, USUAL)),
        "dense_vs_patch_loop_stride1": faster((DENSE, FINE), (PATCH_LOOP, FINE)),
        "student_vs_dense_stride4": faster(student, dense),
        "student_vs_patch_loop_stride4": faster(student, (PATCH_LOOP, USUAL)),
        "cached_epoch_vs_online_loop_epoch": _ratio(epochs.get("online_loop"), cached),
        "cached_epoch_vs_online_dense_epoch": _ratio(epochs.get("online_dense"), cached),
        "fixed_target_epoch_vs_cached_epoch": _ratio(cached, epochs.get("fixed")),
    }


def frames_per_s(cases: Iterable[Case], threads: int) -> float | None:
    """Photos of 480x360 that the student measures per second, every pixel answered."""
    for case in cases:
        if case.setting == Setting(STUDENT, FRAME_PX, None, threads):
            return 1.0 / case.timing.seconds
    return None


def exponent(points: Sequence[Mapping[str, float]]) -> float | None:
    """The power of the number of pixels that time grows with: 1 is linear."""
    if len(points) < 2:
        return None
    pixels = np.log([point["megapixels"] for point in points])
    return float(np.polyfit(pixels, np.log([point["seconds"] for point in points]), 1)[0])


def _ratio(upper: float | None, lower: float | None) -> float | None:
    return None if upper is None or not lower else upper / lower
