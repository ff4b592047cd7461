"""What a modelled lens leaves of the photos, as kernels: regularised least squares.

Corrections of kernels are sought in coordinates that grow with blur (`optics.residual_kernels`), as
rings times the first harmonics around the direction of the field: a lens of revolution has no
others on that axis, so mirrored windows share one kernel. They are linear in the residuals of the
cross relation (`lens_fit`), so normal equations of each pair of photos suffice: for a ridge
estimate, and for its error on distances that were left out.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import fft

from rangefinder.charts.lens_fit import COLOURS, CrossRelation
from rangefinder.charts.registration import disc_grid, disc_transfer, parabola_minimum
from rangefinder.optics.lens_model import LensModel
from rangefinder.optics.residual_kernels import (
    CELLS,
    REACH,
    SIDES,
    ZONES,
    ResidualKernels,
    fade,
    sample,
    scale_px,
    side_and_zone,
)

Double = NDArray[np.float64]
RINGS = 8
HARMONICS = 3  # 1, cos, cos 2
BASIS = RINGS * HARMONICS
RIDGES = (3.0, 30.0, 300.0)  # weights of no correction that are tried
LEAST_GAIN = 0.05  # of the mean squared residual on distances left out, for corrections to be used
TEXTURE_CORNER = 0.02  # cycles per px below which textures have an even spectrum


def basis() -> Double:
    """Densities `[BASIS, CELLS, CELLS]` of sum 0, the x axis away from the optical centre."""
    y, x = (np.mgrid[:CELLS, :CELLS] - (CELLS - 1) / 2) * (2 * REACH / CELLS)
    radius, angle = np.hypot(x, y), np.arctan2(y, x)
    width = REACH / RINGS
    rings = [np.exp(-0.5 * ((radius - i * width) / (0.6 * width)) ** 2) for i in range(RINGS)]
    waves = [np.cos(m * angle) * np.minimum(radius / width, 1) ** m for m in range(HARMONICS)]
    found = np.array([ring * wave for ring in rings for wave in waves])
    found[:, radius > REACH] = 0.0
    window = radius <= 1.0
    found -= (found.sum((1, 2)) / window.sum())[:, None, None] * window
    return np.asarray(found / np.sqrt((found**2).sum((1, 2), keepdims=True)))


@dataclass(frozen=True)
class NormalEquations:
    """Of corrections, for each of `M` pairs, side of the focus and colour: unknowns `U`."""

    matrix: Double  # `[M, SIDES, 3, U, U]`, U = ZONES * BASIS
    right: Double  # `[M, SIDES, 3, U]`
    square: Double  # `[M]` sum of the squared residuals without correction
    pairs: NDArray[np.int64]  # `[M]`
    distance_m: Double  # `[M]`

    def solve(self, kept: NDArray[np.bool_], ridge: float) -> Double:
        """Corrections `[SIDES, 3, U]` from some pairs, 0 where there are none."""
        matrix, right = self.matrix[kept].sum(0), self.right[kept].sum(0)
        size = matrix.shape[-1]
        mean = np.trace(self.matrix.sum(0), axis1=-2, axis2=-1).mean() / size / len(self.pairs)
        regular = matrix + np.eye(size) * max(ridge * mean, 1e-9)
        return np.asarray(np.linalg.solve(regular, right[..., None])[..., 0])

    def gain(self, pair: int, solution: Double) -> float:
        """By how much corrections reduce the squared residuals of a pair."""
        quadratic = np.einsum("sci,scij,scj->", solution, self.matrix[pair], solution)
        return float(2 * np.sum(solution * self.right[pair]) - quadratic)

    def cross_validated(self, ridge: float) -> float:
        """Share of the squared residuals that corrections from other distances explain."""
        total = 0.0
        for pair, distance in enumerate(self.distance_m):
            kept = np.abs(self.distance_m / distance - 1) > 0.01
            total += self.gain(pair, self.solve(kept, ridge)) if kept.any() else 0.0
        return total / max(float(self.square.sum()), 1e-12)


def normal_equations(relation: CrossRelation, model: LensModel) -> NormalEquations:
    """Normal equations of corrections to a model's kernels, from all windows of a relation."""
    windows, densities = relation.windows, basis()
    pairs = np.unique(windows.pair)
    size = ZONES * BASIS
    matrix = np.zeros((len(pairs), SIDES, len(COLOURS), size, size))
    right, square = np.zeros(matrix.shape[:-1]), np.zeros(len(pairs))
    distance_m = np.array([np.median(windows.distance_m[windows.pair == p]) for p in pairs])
    for colour in COLOURS:
        points = relation.points(colour)
        blur = model.blur_px(points.distance_m)
        side, zone, after = side_and_zone(blur, points.radius)
        unit, share = scale_px(blur), fade(blur)
        blurred, sharp, _ = relation.kernels(model, colour)
        left, gain, _, _ = relation.compare(blurred, sharp, colour)
        for n in np.flatnonzero(windows.reliable[:, colour]):
            one = np.full(BASIS, n)
            step = np.full(BASIS, CELLS / (2 * REACH * unit[n]))
            kernels = sample(densities, step, np.full(BASIS, -points.angle[n]), relation.kernel_px)
            kernels *= share[n] / unit[n] ** 2
            moved = relation.through(relation.sharp[one, colour], kernels)
            moved -= moved.mean(axis=(1, 2), keepdims=True)
            weight = windows.weight[n, colour]
            scale = gain[n] / relation.scale[n, colour]
            columns = (moved * weight * scale).reshape(BASIS, -1).astype(np.float64)
            residual = left[n].ravel().astype(np.float64) / relation.scale[n, colour]
            pair = int(np.searchsorted(pairs, windows.pair[n]))
            shares = np.zeros(ZONES)
            shares[zone[n]], shares[zone[n] + 1] = 1 - after[n], after[n]
            matrix[pair, side[n], colour] += np.kron(np.outer(shares, shares), columns @ columns.T)
            right[pair, side[n], colour] += np.kron(shares, columns @ residual)
            square[pair] += residual @ residual
    return NormalEquations(matrix, right, square, pairs, distance_m)


def as_residual(solution: Double) -> ResidualKernels:
    """Corrections `[SIDES, 3, U]` as densities."""
    parts = solution.reshape(SIDES, len(COLOURS), ZONES, BASIS)
    return ResidualKernels(np.einsum("sczb,bij->szcij", parts, basis()))


def estimate_residual(equations: NormalEquations) -> tuple[ResidualKernels | None, float]:
    """Corrections that help at distances they were not estimated from, and by which share.

    Returns:
        None where no ridge explains `LEAST_GAIN` of the squared residuals; the best share.
    """
    if len(np.unique(np.round(equations.distance_m, 3))) < 3:
        return None, 0.0
    shares = [equations.cross_validated(ridge) for ridge in RIDGES]
    best = int(np.argmax(shares))
    if shares[best] < LEAST_GAIN:
        return None, shares[best]
    every = np.ones(len(equations.pairs), dtype=np.bool_)
    return as_residual(equations.solve(every, RIDGES[best])), shares[best]


def equivalent_discs(blurred: Double, sharp: Double, largest_px: float) -> Double:
    """Disc `[N]` [px] that blurs as one kernel `[N, k, k]` does against another.

    Compared over the spectrum of natural textures, whose power falls with frequency squared.
    """
    side = 2 * blurred.shape[-1]
    frequency = np.hypot(fft.fftfreq(side)[:, None], fft.rfftfreq(side)[None])
    weight = 1 / (frequency**2 + TEXTURE_CORNER**2)
    weight[0, 0] = 0.0
    grid = disc_grid(largest_px)
    signed = [_zero_phase(k, side) for k in (blurred, sharp)]
    transfers = disc_transfer(side, grid)
    costs = np.stack(
        [(np.abs(signed[0] - t * signed[1]) ** 2 * weight).sum((1, 2)) for t in transfers]
    )
    return parabola_minimum(grid, costs)


def _zero_phase(kernels: Double, side: int) -> NDArray[np.complexfloating]:
    """Spectra of kernels around their middle pixel."""
    half = kernels.shape[-1] // 2
    padded = np.zeros((len(kernels), side, side))
    padded[:, : kernels.shape[-1], : kernels.shape[-1]] = kernels
    return np.asarray(fft.rfft2(np.roll(padded, (-half, -half), axis=(1, 2))))
