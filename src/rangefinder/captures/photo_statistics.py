"""Statistics of a photo that show how it was processed: noise, finest detail, mosaic, JPEG blocks.

Most are logarithms, and depend little on what the photo shows. They are compared with those of
training photos (`photo_domain`), never with fixed values: a lens or a sensor has its own.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from rangefinder.captures.light import resized
from rangefinder.coordinates import Placement
from rangefinder.optics.srgb import linear_to_srgb

if TYPE_CHECKING:
    from torch import Tensor

Float = NDArray[np.float32]
WINDOW_PX = 32  # side of the windows of local spectra
BANDS = ((0.12, 0.2), (0.36, 0.5))  # of spatial frequency [cycles per px]: coarse and finest detail
TILE_PX = 256  # side of the parts of a large photo that are looked at
MAX_TILES = 16
BLOCK_PX = 8  # of JPEG
NOISE_BLOCK_PX = 8  # side of the blocks that noise is measured in
LIGHT_BINS = 12  # of blocks by their light
QUIET = 0.03  # quantile of windows that show hardly more than noise
BUSY = 0.9  # quantile of windows whose finest detail is strongest
CLIPPED = (0.002, 0.95)  # darker and brighter blocks do not show their noise
TINY = 1e-12  # power


def photo_statistics(
    image: Float | Tensor, placement: Placement | None = None
) -> Mapping[str, float]:
    """Statistics by name; those that a photo cannot show are left out.

    - brightness: its brightest light.
    - grey: 1 where the three colours are the same, else 0.
    - noise_floor: variance of its finest detail where there is least.
    - fine_detail: finest against coarse detail of its colour differences.
    - chroma: finest detail of its colour differences against that of its light.
    - mosaic: how unlike detail is on the four positions of a colour filter array (Popescu and
      Farid, Exposing digital forgeries in color filter array interpolated images, 2005).
    - noise_slope: power of light that the variance of noise grows with; 1 for shot noise.
    - blocks: differences across borders of 8x8 blocks against those inside (Fan and de Queiroz,
      Identification of bitmap compression history, 2003).

    Args:
        image: `[3, H, W]` linear light.
        placement: Where it sits on the sensor. A reduced photo is enlarged first, as for a network.
    """
    light: Float = np.asarray(image, dtype=np.float32)
    if placement is not None and placement.scale != 1.0:
        size = round(light.shape[1] * placement.scale), round(light.shape[2] * placement.scale)
        light = resized(light, *size)
    is_grey = bool(np.ptp(light, axis=0).max() == 0)
    brightest = float(np.quantile(light[:, ::2, ::2], 0.999))
    found = {"brightness": math.log(brightest + TINY), "grey": float(is_grey)}
    if min(light.shape[1:]) < 2 * WINDOW_PX:
        return found
    tiles = list(_tiles(light))
    found |= _detail(tiles, is_grey)
    found["mosaic"] = _mosaic(tiles)
    found["blocks"] = _blocks(tiles)
    slope = _noise_slope(tiles)
    return found if slope is None else found | {"noise_slope": slope}


def _tiles(light: Float) -> Iterator[Float]:
    """The photo, or parts of a large one, whose corners lie on the grid of JPEG blocks."""
    height, width = light.shape[1:]
    if height * width <= MAX_TILES * TILE_PX**2:
        yield light
        return
    steps = round(MAX_TILES**0.5)
    rows, cols = (
        np.linspace(0, max(size - TILE_PX, 0), steps).astype(int) // BLOCK_PX * BLOCK_PX
        for size in (height, width)
    )
    for top in rows:
        for left in cols:
            yield light[:, top : top + TILE_PX, left : left + TILE_PX]


def _detail(tiles: list[Float], is_grey: bool) -> dict[str, float]:
    """Noise floor, and the finest detail of colours.

    The square root of light has the same shot noise at every light (Anscombe, 1948).
    """
    roots = [np.sqrt(tile.clip(min=0)) for tile in tiles]
    light = np.concatenate([_log_power(root.mean(axis=0)) for root in roots])
    found = {"noise_floor": float(np.quantile(light[:, 1], QUIET))}
    if not is_grey:
        differences = [(_log_power(r[0] - r[1]), _log_power(r[2] - r[1])) for r in roots]
        colour = np.concatenate([np.logaddexp(red, blue) for red, blue in differences])
        found["fine_detail"] = float(np.quantile(colour[:, 1] - colour[:, 0], BUSY))
        found["chroma"] = float(np.quantile(colour[:, 1] - light[:, 1], BUSY))
    return found


def _log_power(values: Float) -> Float:
    """Log of the mean spectral power in both bands, of every window: `[N, 2]`."""
    windows = _blocked(values, WINDOW_PX)
    taper = np.hanning(WINDOW_PX + 1)[:-1].astype(np.float32)
    centred = (windows - windows.mean(axis=(1, 2), keepdims=True)) * np.outer(taper, taper)
    power = np.abs(np.fft.rfft2(centred)) ** 2
    frequency = np.hypot(np.fft.fftfreq(WINDOW_PX)[:, None], np.fft.rfftfreq(WINDOW_PX)[None])
    bands = [power[:, (frequency >= low) & (frequency < high)].mean(axis=1) for low, high in BANDS]
    return np.log(np.stack(bands, axis=1) + TINY).astype(np.float32)


def _blocked(values: Float, side: int) -> Float:
    """Whole blocks of a picture `[H, W]`: `[N, side, side]`."""
    rows, cols = (size // side for size in values.shape)
    whole = values[: rows * side, : cols * side].reshape(rows, side, cols, side)
    return whole.swapaxes(1, 2).reshape(-1, side, side)


def _mosaic(tiles: list[Float]) -> float:
    """Log of the sd over the four positions of log fine detail, of the colour where it is most."""
    totals = np.zeros((4, 3))
    for tile in tiles:
        detail = np.abs(tile - _mean_of_three(_mean_of_three(tile, axis=1), axis=2))
        height, width = (size // 2 * 2 for size in tile.shape[1:])
        for number in range(4):
            part = detail[:, number // 2 : height : 2, number % 2 : width : 2]
            totals[number] += part.mean(axis=(1, 2))
    spread = np.log(totals / len(tiles) + 1e-9).std(axis=0)
    return math.log(float(spread.max()) + 1e-3)


def _mean_of_three(values: Float, axis: int) -> Float:
    """Mean of every value and its neighbours along an axis; at the ends there is one of these."""
    inner = np.moveaxis(values, axis, 0)
    total, count = inner.copy(), np.ones((len(inner),) + (1,) * (inner.ndim - 1), dtype=np.float32)
    for to, of in ((slice(1, None), slice(None, -1)), (slice(None, -1), slice(1, None))):
        total[to] += inner[of]
        count[to] += 1
    return np.moveaxis(total / count, 0, axis)


def _noise_slope(tiles: list[Float]) -> float | None:
    """Slope of log noise variance over log light; None if light varies too little."""
    blocks = []
    for plane in (plane for tile in tiles for plane in tile):
        mixed = plane[1:, 1:] - plane[:-1, 1:] - plane[1:, :-1] + plane[:-1, :-1]
        variance = _blocked(mixed**2, NOISE_BLOCK_PX).mean(axis=(1, 2))
        light = _blocked(plane[:-1, :-1], NOISE_BLOCK_PX).mean(axis=(1, 2))
        usable = (light > CLIPPED[0]) & (light < CLIPPED[1])
        blocks.append(np.log(np.stack([light[usable], variance[usable] + TINY])))
    light, variance = np.concatenate(blocks, axis=1)
    if light.size < LIGHT_BINS**2:
        return None
    order = np.array_split(np.argsort(light), LIGHT_BINS)
    middle = np.array([light[part].mean() for part in order])
    quietest = np.array([np.quantile(variance[part], QUIET) for part in order])
    if np.ptp(middle) < math.log(2):
        return None
    return float(np.polyfit(middle, quietest, 1)[0])


def _blocks(tiles: list[Float]) -> float:
    """Log of the differences at the strongest of eight phases over those two and four px away."""
    means = np.zeros(BLOCK_PX)
    for tile in tiles:
        encoded = linear_to_srgb(tile.mean(axis=0))
        for values in (encoded, encoded.T):
            inner = 3 * (values[:, 2:-1] - values[:, 1:-2]) - (values[:, 3:] - values[:, :-3])
            columns = np.abs(inner).mean(axis=0)
            phase = np.arange(2, 2 + columns.size) % BLOCK_PX
            means += np.bincount(phase, columns, BLOCK_PX) / np.bincount(phase, minlength=BLOCK_PX)
    others = sum(np.roll(means, shift) for shift in (2, 4, 6)) / 3
    return math.log(float((means / np.maximum(others, TINY)).max()) + TINY)
