"""One surface at known distances, spread over the picture by the bank's kernels."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from rangefinder.errors import CaptureError
from rangefinder.optics.lens import PsfBank

Float = NDArray[np.float32]
Box = tuple[int, int, int, int]  # top, bottom, left, right; the far ends exclusive
ROUNDING = 1e-4  # planes; how far a distance may leave the bank by rounding of float32 alone
EVERYWHERE = np.zeros((0, 0), np.float32)


@dataclass(frozen=True)
class Surface:
    """A surface on the canvas: the sensor enlarged by r = `bank.radius_px` on every side.

    Attributes:
        rgb: `[3, H + 2r, W + 2r]` linear light.
        cover: `[H + 2r, W + 2r]` share of each pixel that is covered; `EVERYWHERE`: all of it.
        plane: `[H + 2r, W + 2r]` distance in planes of the bank, 0..D-1.
        planes: Lowest and highest `plane` where there is cover.
        source: Part of the canvas that can be seen in the picture.
        target: Part of the picture that its light reaches.
    """

    rgb: Float
    cover: Float
    plane: NDArray[np.float64]
    planes: tuple[float, float]
    source: Box
    target: Box

    @classmethod
    def of(cls, bank: PsfBank, rgb: Float, cover: Float, plane: NDArray[np.float64]) -> Surface:
        """Find out where a surface is.

        Raises:
            CaptureError: If it leaves the range of the bank.
        """
        is_lit = plane if cover is EVERYWHERE else plane[cover > 0.0]
        if is_lit.size == 0:
            nowhere = (0, 0, 0, 0)
            return cls(rgb, cover, plane, (0.0, 0.0), nowhere, nowhere)
        low, high = float(is_lit.min()), float(is_lit.max())
        last = len(bank.inverse_distance_dpt) - 1
        if not (low >= -ROUNDING and high <= last + ROUNDING):
            _refuse_distance(bank, low, high)
        low, high = min(max(low, 0.0), last), min(max(high, 0.0), last)
        first, end = _interval(low, last), _interval(high, last) + 1
        reach = max(bank.support_px[first : end + 1])
        source, target = _boxes(bank, cover, rgb.shape[1:], reach)
        return cls(rgb, cover, plane.clip(low, high), (low, high), source, target)

    def spread(self, bank: PsfBank, target: Box, with_cover: bool, with_gain: bool = True) -> Float:
        """Light of the surface as the lens spreads it.

        Args:
            bank: Point spread functions.
            target: Part of the picture that is wanted.
            with_cover: Append the cover as each colour's kernels blur it.
            with_gain: Darken by the lens's vignetting.

        Returns:
            `[3, h, w]`, or `[6, h, w]` with cover.
        """
        from rangefinder.optics.scatter import scatter

        height, width = target[1] - target[0], target[3] - target[2]
        out = np.zeros((6 if with_cover else 3, height, width), np.float32)
        kernels, gain, reach, plane = self._planes(bank)
        r = bank.radius_px
        scatter(
            kernels,
            gain if with_gain else np.ones_like(gain),
            reach,
            self.rgb,
            self.cover,
            plane,
            bank.canvas_nodes,
            self.source,
            (target[0] + r, target[2] + r),
            out,
        )
        return out

    def _planes(self, bank: PsfBank) -> tuple[Float, Float, NDArray[np.int64], NDArray[np.float64]]:
        """Kernels, gain and reach of the planes in use, and distances counted from the first."""
        last = len(bank.inverse_distance_dpt) - 1
        low, high = self.planes
        first, end = _interval(low, last), _interval(high, last) + 1
        support = np.array(bank.support_px[first : end + 1], dtype=np.int64)
        kernels, gain = bank.padded_kernels[first : end + 1], bank.gain.numpy()[first : end + 1]
        if low < high:
            return kernels, gain, np.maximum(support[:-1], support[1:]), self.plane - first
        way = np.float32(low - first)  # one distance: one kernel per field node will do
        flat = kernels[:1] + way * (kernels[1:2] - kernels[:1])
        return (
            flat,
            gain[:1] + way * (gain[1:2] - gain[:1]),
            support.max(keepdims=True),
            np.zeros((0, 0)),
        )


def planes_of(bank: PsfBank, distance_m: NDArray[np.float64]) -> NDArray[np.float64]:
    """Distances [m] in planes of the bank, not clipped; NaN and 0 become NaN."""
    inverse = bank.inverse_distance_dpt.numpy()
    step = (inverse[-1] - inverse[0]) / (inverse.size - 1)
    with np.errstate(divide="ignore", invalid="ignore"):
        plane: NDArray[np.float64] = (1.0 / distance_m - inverse[0]) / step
    return plane


def _interval(plane: float, last: int) -> int:
    """Index of the interval between planes that `plane` lies in."""
    return min(math.floor(plane), last - 1)


def _boxes(bank: PsfBank, cover: Float, canvas: tuple[int, ...], reach: int) -> tuple[Box, Box]:
    """Part of the canvas that can be seen in the picture, and part of the picture it reaches."""
    box: list[int] = []
    reached: list[int] = []
    for axis in (0, 1):
        lines = np.arange(canvas[axis])
        if cover is not EVERYWHERE:
            lines = np.flatnonzero(cover.any(axis=1 - axis))
        r, size = bank.radius_px, bank.size_px[axis]
        start = max(int(lines[0]), r - reach)
        stop = max(min(int(lines[-1]) + 1, r + size + reach), start)
        box += [start, stop]
        begin = min(max(start - r - reach, 0), size)
        reached += [begin, max(min(stop - r + reach, size), begin)]
    return (box[0], box[1], box[2], box[3]), (reached[0], reached[1], reached[2], reached[3])


def _refuse_distance(bank: PsfBank, low: float, high: float) -> None:
    inverse = bank.inverse_distance_dpt.numpy()
    step = (inverse[-1] - inverse[0]) / (inverse.size - 1)
    found = [1.0 / max(inverse[0] + step * plane, 1e-9) for plane in (high, low)]
    raise CaptureError(
        "a surface stands outside the distances of the point spread functions",
        got=f"{found[0]:.4g} to {found[1]:.4g} m",
        expected=f"{1.0 / inverse[-1]:.4g} to {1.0 / inverse[0]:.4g} m",
        todo="Move it, or widen range.working_m.",
    )
