"""Rendering of sharp layers through a PSF bank: blur, occlusion, vignetting, in linear light.

Every source pixel spreads its own point spread function, interpolated from the bank over inverse
distance and field, as in a lens; gathering a blur at each output pixel would not occlude correctly.
Layers and surfaces are given on the padded frame: the sensor enlarged by r = `bank.radius_px` on
every side, so that light from just outside the picture can be spread into it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import pad

from rangefinder.errors import CaptureError
from rangefinder.optics.psf_bank import PsfBank

Float = NDArray[np.float32]
Distance = TypeVar("Distance", float, Tensor, float | Tensor)
Double = NDArray[np.float64]
Box = tuple[int, int, int, int]  # top, bottom, left, right; the far ends exclusive
ROUNDING = 1e-4  # planes; how far a distance may leave the bank by rounding of float32 alone
OPAQUE = np.zeros((0, 0), np.float32)  # stands for alpha = 1 everywhere
MIN_VISIBLE = 1e-3  # visible share of a point's light below which its colour is not extrapolated
SLICES = 16  # depth slices of a photo with a distance map


@dataclass(frozen=True)
class Layer:
    """A sharp, opaque or partly transparent layer on the padded frame.

    Attributes:
        distance_m: From `camera.distance_reference` [m]: a number, or `[H + 2r, W + 2r]`, where
            pixels of alpha 0 may have any value.
    """

    rgb: Tensor  # `[3, H + 2r, W + 2r]` linear light, 0..1 (not multiplied by alpha)
    alpha: Tensor | None  # `[H + 2r, W + 2r]` covered share of each pixel, 0..1; None: all of it
    distance_m: float | Tensor


def refocused(bank: PsfBank, distance_m: Distance, shift_dpt: float) -> Distance:
    """Distances [m] that blur, in a bank, as `distance_m` do where the focus is off by `shift_dpt`.

    A positive shift [1/m] is a focus that is farther away. Clipped to the range of the bank.
    """
    if not shift_dpt:
        return distance_m
    low, high = float(bank.inverse_distance_dpt[0]), float(bank.inverse_distance_dpt[-1])
    inverse = torch.as_tensor(distance_m, dtype=torch.float32).reciprocal() + shift_dpt
    moved = inverse.clamp(low, high).reciprocal()
    return moved if isinstance(distance_m, Tensor) else float(moved)


def render(bank: PsfBank, layers: Sequence[Layer]) -> Tensor:
    """Image layers, back to front, through the lens: blur, occlusion and vignetting; no noise.

    A layer occludes what is behind it by its blurred alpha, colour by colour.

    Returns:
        `[3, H, W]` linear light.

    Raises:
        CaptureError: If a layer does not fit the padded frame or leaves the range of the bank.
    """
    picture = np.zeros((3, *bank.size_px), np.float32)
    for i, layer in enumerate(layers):
        surface = _surface(bank, layer)
        blurred = surface.spread(bank, surface.target, with_alpha=i > 0)
        _composite_over(picture, surface.target, blurred)
    return torch.from_numpy(picture)


def render_rgbd(bank: PsfBank, rgb: Tensor, distance_m: Tensor) -> Tensor:
    """Image a sharp photo with a distance map through the lens; no noise.

    What is behind an occluder is unknown. The map is cut into slices of inverse distance,
    composited back to front; a slice's blurred light and alpha are divided by the blur of all that
    is not nearer than it, which extrapolates its colours behind what occludes it (the occlusion
    model of Ikoma et al., Depth from Defocus with Learned Optics, 2021).

    Args:
        bank: PSF bank of the camera.
        rgb: `[3, H, W]` linear light.
        distance_m: `[H, W]` from `camera.distance_reference` [m].

    Returns:
        `[3, H, W]` linear light.

    Raises:
        CaptureError: If sizes differ from the sensor's or a distance leaves the range of the bank.
    """
    margins = (bank.radius_px,) * 4
    wide = pad(rgb[None], margins, mode="replicate")[0]
    distance = pad(distance_m[None, None], margins, mode="replicate")[0, 0]
    whole = _surface(bank, Layer(wide, None, distance))
    edges = np.linspace(*whole.planes, SLICES + 1)
    index = np.searchsorted(edges[1:-1], whole.plane, side="right")
    picture = np.zeros((3, *bank.size_px), np.float32)
    for k in np.unique(index):
        here = Surface.of(bank, whole.rgb, (index == k).astype(np.float32), whole.plane)
        not_nearer = (index <= k).astype(np.float32)
        clamped = np.maximum(whole.plane, edges[k])
        behind = Surface.of(bank, np.ones_like(whole.rgb), not_nearer, clamped)
        visible = behind.spread(bank, here.target, with_alpha=False, with_illumination=False)
        blurred = here.spread(bank, here.target, with_alpha=True)
        blurred /= np.maximum(np.concatenate([visible, visible]), MIN_VISIBLE)
        _composite_over(picture, here.target, blurred)
    return torch.from_numpy(picture)


@dataclass(frozen=True)
class Surface:
    """A layer as arrays, and where it is."""

    rgb: Float  # `[3, H + 2r, W + 2r]` linear light
    alpha: Float  # `[H + 2r, W + 2r]` covered share of each pixel, or `OPAQUE`
    plane: Double  # `[H + 2r, W + 2r]` distance in planes of the bank, 0..D-1
    planes: tuple[float, float]  # lowest and highest `plane` where alpha > 0
    source: Box  # part of the padded frame that can be seen in the picture
    target: Box  # part of the picture that its light reaches

    @classmethod
    def of(cls, bank: PsfBank, rgb: Float, alpha: Float, plane: Double) -> Surface:
        """Derive the extent of a surface.

        Raises:
            CaptureError: If it leaves the range of the bank.
        """
        visible = plane if alpha is OPAQUE else plane[alpha > 0.0]
        if visible.size == 0:
            return cls(rgb, alpha, plane, (0.0, 0.0), (0, 0, 0, 0), (0, 0, 0, 0))
        low, high = float(visible.min()), float(visible.max())
        last = len(bank.inverse_distance_dpt) - 1
        if not (low >= -ROUNDING and high <= last + ROUNDING):
            raise _outside_bank(bank, low, high)
        planes = min(max(low, 0.0), last), min(max(high, 0.0), last)
        reach = max(bank.support_px[_planes_in_use(bank, planes)])
        rows, cols = (_extent(bank, alpha, rgb.shape[1 + i], reach, i) for i in (0, 1))
        source, target = (*rows[:2], *cols[:2]), (*rows[2:], *cols[2:])
        return cls(rgb, alpha, plane.clip(*planes), planes, source, target)

    def spread(
        self, bank: PsfBank, target: Box, with_alpha: bool, with_illumination: bool = True
    ) -> Float:
        """Light of the surface, blurred, in the part `target` of the picture.

        Returns:
            `[3, h, w]`, or `[6, h, w]` with alpha as each colour's kernels blur it.
        """
        from rangefinder.optics.psf_interpolation import scatter

        height, width = target[1] - target[0], target[3] - target[2]
        out = np.zeros((6 if with_alpha else 3, height, width), np.float32)
        kernels, illumination, reach, plane = self._kernels(bank)
        r = bank.radius_px
        scatter(
            kernels,
            illumination if with_illumination else np.ones_like(illumination),
            reach,
            self.rgb,
            self.alpha,
            plane,
            bank.padded_nodes,
            self.source,
            (target[0] + r, target[2] + r),
            out,
        )
        return out

    def _kernels(self, bank: PsfBank) -> tuple[Float, Float, NDArray[np.int64], Double]:
        """Kernels, illumination and reach of the planes in use; distances from the first plane."""
        low, high = self.planes
        used = _planes_in_use(bank, self.planes)
        support = np.array(bank.support_px[used], dtype=np.int64)
        kernels, illumination = bank.padded_kernels[used], bank.relative_illumination.numpy()[used]
        if low < high:
            reach = np.maximum(support[:-1], support[1:])
            return kernels, illumination, reach, self.plane - used.start
        weight = np.float32(low - used.start)  # at one distance one kernel per field node suffices
        kernels = kernels[:1] + weight * (kernels[1:2] - kernels[:1])
        illumination = illumination[:1] + weight * (illumination[1:2] - illumination[:1])
        return kernels, illumination, support.max(keepdims=True), np.zeros((0, 0))


def _surface(bank: PsfBank, layer: Layer) -> Surface:
    """Check a layer and convert it to arrays."""
    size = tuple(size + 2 * bank.radius_px for size in bank.size_px)
    shapes = {"rgb": (tuple(layer.rgb.shape), (3, *size))}
    if layer.alpha is not None:
        shapes["alpha"] = (tuple(layer.alpha.shape), size)
    if isinstance(layer.distance_m, Tensor):
        shapes["distance_m"] = (tuple(layer.distance_m.shape), size)
    for name, (found, expected) in shapes.items():
        if found != expected:
            raise CaptureError(
                f"{name} of a layer does not fit the padded frame",
                got=f"shape {found}",
                expected=f"{expected}: the sensor and {bank.radius_px} px on every side",
            )
    if isinstance(layer.distance_m, Tensor):
        distance = layer.distance_m.detach().cpu().double().numpy()
    else:
        distance = np.broadcast_to(np.float64(layer.distance_m), size)
    alpha = OPAQUE if layer.alpha is None else _array(layer.alpha)
    inverse = bank.inverse_distance_dpt.numpy()
    with np.errstate(divide="ignore", invalid="ignore"):
        plane = (1.0 / distance - inverse[0]) / _step_dpt(bank)
    return Surface.of(bank, _array(layer.rgb), alpha, plane)


def _step_dpt(bank: PsfBank) -> float:
    """Inverse distance [dpt] between neighbouring planes of a bank."""
    inverse = bank.inverse_distance_dpt.numpy()
    return float((inverse[-1] - inverse[0]) / (inverse.size - 1))


def _planes_in_use(bank: PsfBank, planes: tuple[float, float]) -> slice:
    """The planes of the bank that distances `planes` are interpolated from."""
    last = len(bank.inverse_distance_dpt) - 1
    first, end = (min(math.floor(plane), last - 1) for plane in planes)
    return slice(first, end + 2)


def _extent(bank: PsfBank, alpha: Float, size: int, reach: int, axis: int) -> Box:
    """Along one axis: start and stop of `Surface.source`, start and stop of `Surface.target`."""
    lines = np.arange(size) if alpha is OPAQUE else np.flatnonzero(alpha.any(axis=1 - axis))
    r, side = bank.radius_px, bank.size_px[axis]
    start = max(int(lines[0]), r - reach)
    stop = max(min(int(lines[-1]) + 1, r + side + reach), start)
    begin = min(max(start - r - reach, 0), side)
    return start, stop, begin, max(min(stop - r + reach, side), begin)


def _outside_bank(bank: PsfBank, low: float, high: float) -> CaptureError:
    """For distances `low` to `high` [planes] beyond those of the bank."""
    inverse = bank.inverse_distance_dpt.numpy()
    found = [1.0 / max(inverse[0] + _step_dpt(bank) * plane, 1e-9) for plane in (high, low)]
    return CaptureError(
        "a surface is outside the distances of the point spread functions",
        got=f"{found[0]:.4g} to {found[1]:.4g} m",
        expected=f"{1.0 / inverse[-1]:.4g} to {1.0 / inverse[0]:.4g} m",
        todo="Move it, or widen range.working_m.",
    )


def _composite_over(picture: Float, target: Box, blurred: Float) -> None:
    """Composite a blurred surface `[3 or 6, h, w]` (light, alpha) over part of a picture."""
    part = picture[:, target[0] : target[1], target[2] : target[3]]
    if blurred.shape[0] == 6:
        part *= 1.0 - blurred[3:]
    part += blurred[:3]


def _array(tensor: Tensor) -> Float:
    return np.asarray(tensor.detach().cpu().contiguous().float().numpy())
