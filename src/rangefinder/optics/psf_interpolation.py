"""The inner loop of rendering: every source pixel spreads its own interpolated PSF.

Import this module only where captures are rendered: it compiles on first use.

Cost is proportional to the pixels that a surface covers and to the area of their blur, not to the
kernel array. Kernel windows are added as single runs of memory, which is what makes it fast: source
columns are walked one by one, and their light is gathered in a strip as wide as a window, whose
rows follow each other without gaps.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from rangefinder.common.compute import compiled

Float = NDArray[np.float32]
Int = NDArray[np.int64]
Weights = tuple[np.float32, np.float32, np.float32, np.float32]
RUN = 64  # windows are padded to whole runs of this many floats, so loops have no remainder
LANES = 8  # window rows are padded to whole groups of this many floats


@compiled
def scatter(
    kernels: Float,
    illumination: Float,
    reach: Int,
    rgb: Float,
    alpha: Float,
    plane: NDArray[np.float64],
    nodes: tuple[Int, Float, Int, Float],
    box: tuple[int, int, int, int],
    corner: tuple[int, int],
    out: Float,
) -> None:
    """Add the light (and alpha) that the pixels of a surface spread over the picture.

    Args:
        kernels: `[D, Fy, Fx, 3, k, kw]`, columns beyond k are 0; D = 1: one distance for all.
        illumination: `[D, Fy, Fx]` factor of the light.
        reach: `[max(D - 1, 1)]` reach of both kernels next to each interval of planes [px].
        rgb: `[3, H, W]` light of the surface.
        alpha: `[H, W]` share of each pixel that the surface covers; `[0, 0]`: opaque everywhere.
        plane: `[H, W]` distance in units of planes, 0..D-1; `[0, 0]` if D = 1.
        nodes: For rows and columns: field node before each, and weight of the next one, 0..1.
        box: Top, bottom, left and right of the source pixels, exclusive at the far end.
        corner: Row and column of the source grid where `out` begins.
        out: `[3, h, w]` light, or `[6, h, w]` light and then alpha as blurred in each colour.
    """
    half, padded = kernels.shape[4] // 2, kernels.shape[5]
    widest = reach.max()
    width = (2 * widest + LANES) // LANES * LANES
    first = min(half - widest, padded - width)  # column of the kernel where windows begin
    rows = box[1] - box[0] + 2 * half
    windows = np.zeros((4, 3, _whole_runs(kernels.shape[4] * width)), np.float32)
    strip = np.zeros((out.shape[0], rows * width + RUN), np.float32)
    for x in range(box[2], box[3] + width - 1):
        if x < box[3]:
            _spread_column(
                x, kernels, illumination, reach, rgb, alpha, plane, nodes, box, (first, width),
                windows, strip,
            )  # fmt: skip
        top, left = box[0] - half - corner[0], x + first - half - corner[1]
        _flush_column(strip, x % width, width, top, left, out)


@compiled
def _spread_column(
    x: int,
    kernels: Float,
    illumination: Float,
    reach: Int,
    rgb: Float,
    alpha: Float,
    plane: NDArray[np.float64],
    nodes: tuple[Int, Float, Int, Float],
    box: tuple[int, int, int, int],
    frame: tuple[int, int],
    windows: Float,
    strip: Float,
) -> None:
    """Spread one column of source pixels into the strip."""
    half, width = kernels.shape[4] // 2, frame[1]
    node_x, weight_x = nodes[2][x], nodes[3][x]
    flat = kernels.shape[0] == 1
    p, node_y, size = -1, -1, 0
    share, weight_p = np.float32(1.0), np.float32(0.0)
    for y in range(box[0], box[1]):
        if alpha.size > 0:
            share = alpha[y, x]
            if share == 0.0:
                continue
        now = 0
        if not flat:
            now = min(int(plane[y, x]), kernels.shape[0] - 2)
            weight_p = np.float32(plane[y, x] - now)
        if now != p or nodes[0][y] != node_y:
            p, node_y = now, nodes[0][y]
            size = _fill_windows(
                kernels, p, node_y, node_x, weight_x, reach[p], frame, x % width, windows
            )
        weights = _bilinear(weight_p, nodes[1][y])
        light = share * _interpolate(illumination, p, node_y, node_x, weight_x, weights)
        colour = (light * rgb[0, y, x], light * rgb[1, y, x], light * rgb[2, y, x])
        start = (y - box[0] + half - reach[p]) * width
        if flat:
            _add_flat(windows, weights, colour, share, start, size, strip)
        else:
            _add(windows, weights, colour, share, start, size, strip)


@compiled
def _bilinear(weight_p: np.float32, weight_y: np.float32) -> Weights:
    """Bilinear weights of the 2 x 2 (plane, field row) nodes around a pixel."""
    rest_p, rest_y = np.float32(1.0) - weight_p, np.float32(1.0) - weight_y
    return rest_p * rest_y, rest_p * weight_y, weight_p * rest_y, weight_p * weight_y


@compiled
def _whole_runs(size: int) -> int:
    return (size + RUN - 1) // RUN * RUN


@compiled
def _interpolate(
    illumination: Float, p: int, node_y: int, node_x: int, weight_x: np.float32, weights: Weights
) -> np.float32:
    """Relative illumination, interpolated over distance and field."""
    total = np.float32(0.0)
    for i in range(2 if illumination.shape[0] == 1 else 4):
        row = illumination[p + i // 2, node_y + i % 2]
        total += weights[i] * (row[node_x] + weight_x * (row[node_x + 1] - row[node_x]))
    return total


@compiled
def _fill_windows(
    kernels: Float,
    p: int,
    node_y: int,
    node_x: int,
    weight_x: np.float32,
    reach: int,
    frame: tuple[int, int],
    turn: int,
    windows: Float,
) -> int:
    """Interpolate over x the kernels of the 2 x 2 (plane, field row) nodes around pixels.

    Window column j is stored at column (j + turn) mod width, its column in the strip.

    Returns:
        Floats of a window that are in use.
    """
    first, width = frame
    half = kernels.shape[4] // 2
    split = width - turn
    size = (2 * reach + 1) * width
    for node in range(6 if kernels.shape[0] == 1 else 12):
        i, c = node // 3, node % 3
        left = kernels[p + i // 2, node_y + i % 2, node_x, c]
        right = kernels[p + i // 2, node_y + i % 2, node_x + 1, c]
        window = windows[i, c]
        for row in range(2 * reach + 1):
            a = left[half - reach + row, first : first + width]
            b = right[half - reach + row, first : first + width]
            end = window[row * width + turn : (row + 1) * width]
            begin = window[row * width : row * width + turn]
            for j in range(split):
                end[j] = a[j] + weight_x * (b[j] - a[j])
            for j in range(turn):
                begin[j] = a[split + j] + weight_x * (b[split + j] - a[split + j])
        window[size : _whole_runs(size)] = 0.0
    return _whole_runs(size)


@compiled
def _add_flat(
    windows: Float,
    weights: Weights,
    colour: tuple[np.float32, np.float32, np.float32],
    share: np.float32,
    start: int,
    size: int,
    strip: Float,
) -> None:
    """Add one pixel's light, and its alpha if the strip has room for it: kernels of one plane."""
    for c in range(3):
        q, w0, w1 = colour[c], weights[0], weights[1]
        a, b = windows[0, c], windows[1, c]
        light = strip[c, start : start + size]
        if strip.shape[0] == 3:
            w0, w1 = q * w0, q * w1
            for i in range(size):
                light[i] += w0 * a[i] + w1 * b[i]
        else:
            mask = strip[3 + c, start : start + size]
            for i in range(size):
                value = w0 * a[i] + w1 * b[i]
                light[i] += q * value
                mask[i] += share * value


@compiled
def _add(
    windows: Float,
    weights: Weights,
    colour: tuple[np.float32, np.float32, np.float32],
    share: np.float32,
    start: int,
    size: int,
    strip: Float,
) -> None:
    """Add one pixel's light, and its alpha if the strip has room for it: kernels of two planes."""
    for c in range(3):
        q, (w0, w1, w2, w3) = colour[c], weights
        k0, k1, k2, k3 = windows[0, c], windows[1, c], windows[2, c], windows[3, c]
        light = strip[c, start : start + size]
        if strip.shape[0] == 3:
            w0, w1, w2, w3 = q * w0, q * w1, q * w2, q * w3
            for i in range(size):
                light[i] += w0 * k0[i] + w1 * k1[i] + w2 * k2[i] + w3 * k3[i]
        else:
            mask = strip[3 + c, start : start + size]
            for i in range(size):
                value = w0 * k0[i] + w1 * k1[i] + w2 * k2[i] + w3 * k3[i]
                light[i] += q * value
                mask[i] += share * value


@compiled
def _flush_column(strip: Float, column: int, width: int, top: int, left: int, out: Float) -> None:
    """Move a finished column of the strip to the picture, and clear it for the next."""
    rows = (strip.shape[1] - RUN) // width
    inside = 0 <= left < out.shape[2]
    for c in range(out.shape[0]):
        for row in range(rows):
            if inside and 0 <= row + top < out.shape[1]:
                out[c, row + top, left] += strip[c, row * width + column]
            strip[c, row * width + column] = 0.0
