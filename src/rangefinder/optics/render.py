"""From sharp layers at known distances to the picture that a camera takes of them, in linear light.

Every source pixel spreads its own point spread function, interpolated from the bank over inverse
distance and field. That is what a lens does; gathering a blur for each output pixel is not.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import pad

from rangefinder.errors import CaptureError
from rangefinder.optics.lens import PsfBank
from rangefinder.optics.spread import EVERYWHERE, Surface, planes_of

LEAST_COVER = 1e-3  # share of a point's light below which a slice's colour there is not guessed
SLICES = 16  # depth slices of a photo with a distance map


@dataclass(frozen=True)
class Layer:
    """A sharp, opaque or partly transparent surface on the canvas.

    The canvas is the sensor enlarged by r = `bank.radius_px` on every side, so that light from just
    outside the picture is there to be spread into it.

    Attributes:
        rgb: `[3, H + 2r, W + 2r]` linear light, 0..1 (not multiplied by alpha).
        alpha: `[H + 2r, W + 2r]` share of each pixel that is covered, 0..1; None: all of it.
        distance_m: From `camera.distance_reference` [m]: a number, or `[H + 2r, W + 2r]`, where
            pixels of alpha 0 may hold anything.
    """

    rgb: Tensor
    alpha: Tensor | None
    distance_m: float | Tensor


def render(bank: PsfBank, layers: Sequence[Layer]) -> Tensor:
    """Image layers through the lens: blur, occlusion and vignetting; no noise.

    A layer hides what lies behind it by its blurred alpha, colour by colour.

    Args:
        bank: Point spread functions of the camera.
        layers: Back to front.

    Returns:
        `[3, H, W]` linear light.

    Raises:
        CaptureError: If a layer does not fit the canvas or leaves the range of the bank.
    """
    picture = np.zeros((3, *bank.size_px), np.float32)
    for i, layer in enumerate(layers):
        surface = _surface(bank, layer)
        top, bottom, left, right = surface.target
        blurred = surface.spread(bank, surface.target, with_cover=i > 0)
        _lay_over(picture[:, top:bottom, left:right], blurred)
    return torch.from_numpy(picture)


def render_rgbd(bank: PsfBank, rgb: Tensor, distance_m: Tensor, slices: int = SLICES) -> Tensor:
    """Image a sharp photo with a distance map through the lens; no noise.

    What stands behind an occluder is unknown. The map is cut into slices of inverse distance,
    composited back to front; a slice's blurred light and alpha are divided by the blur of all that
    is not nearer than it, which continues its colours behind what hides it (the occlusion model of
    Ikoma et al., Depth from Defocus with Learned Optics, 2021).

    Args:
        bank: Point spread functions of the camera.
        rgb: `[3, H, W]` linear light.
        distance_m: `[H, W]` from `camera.distance_reference` [m].
        slices: Number of slices; occlusion is accounted for between them.

    Returns:
        `[3, H, W]` linear light.

    Raises:
        CaptureError: If sizes differ from the sensor's or a distance leaves the range of the bank.
    """
    margins = (bank.radius_px,) * 4
    wide = pad(rgb[None], margins, mode="replicate")[0]
    distance = pad(distance_m[None, None], margins, mode="replicate")[0, 0]
    whole = _surface(bank, Layer(wide, None, distance))
    edges = np.linspace(*whole.planes, slices + 1)
    index = np.searchsorted(edges[1:-1], whole.plane, side="right")
    picture = np.zeros((3, *bank.size_px), np.float32)
    for k in np.unique(index):
        here = Surface.of(bank, whole.rgb, (index == k).astype(np.float32), whole.plane)
        nearer = np.maximum(whole.plane, edges[k])
        behind = Surface.of(bank, np.ones_like(whole.rgb), (index <= k).astype(np.float32), nearer)
        top, bottom, left, right = here.target
        seen = behind.spread(bank, here.target, with_cover=False, with_gain=False)
        blurred = here.spread(bank, here.target, with_cover=True)
        blurred /= np.maximum(np.concatenate([seen, seen]), LEAST_COVER)
        _lay_over(picture[:, top:bottom, left:right], blurred)
    return torch.from_numpy(picture)


def _lay_over(picture: NDArray[np.float32], blurred: NDArray[np.float32]) -> None:
    """Put a blurred surface `[6, h, w]` (light, alpha) before a picture `[3, h, w]`, in place."""
    if blurred.shape[0] == 6:
        picture *= 1.0 - blurred[3:]
    picture += blurred[:3]


def _surface(bank: PsfBank, layer: Layer) -> Surface:
    """Check a layer and turn it into arrays."""
    canvas = tuple(size + 2 * bank.radius_px for size in bank.size_px)
    shapes = {"rgb": (tuple(layer.rgb.shape), (3, *canvas))}
    if layer.alpha is not None:
        shapes["alpha"] = (tuple(layer.alpha.shape), canvas)
    if isinstance(layer.distance_m, Tensor):
        shapes["distance_m"] = (tuple(layer.distance_m.shape), canvas)
    for name, (found, expected) in shapes.items():
        if found != expected:
            raise CaptureError(
                f"{name} of a layer does not fit the canvas",
                got=f"shape {found}",
                expected=f"{expected}: the sensor and {bank.radius_px} px on every side",
            )
    if isinstance(layer.distance_m, Tensor):
        distance = layer.distance_m.detach().cpu().double().numpy()
    else:
        distance = np.broadcast_to(np.float64(layer.distance_m), canvas)
    cover = EVERYWHERE if layer.alpha is None else _array(layer.alpha)
    return Surface.of(bank, _array(layer.rgb), cover, planes_of(bank, distance))


def _array(tensor: Tensor) -> NDArray[np.float32]:
    array: NDArray[np.float32] = tensor.detach().cpu().contiguous().float().numpy()
    return array
