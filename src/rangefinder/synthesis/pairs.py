"""Pairs of photos of a flat thing: at the working aperture, and stopped down for a sharp one."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from rangefinder.common.compute import one_thread
from rangefinder.config import Parameters
from rangefinder.optics.psf_bank import PsfBank
from rangefinder.optics.rendering import render
from rangefinder.optics.sensor import photograph, sensor_light
from rangefinder.synthesis.scenes import Frame, compose_chart
from rangefinder.synthesis.textures import TextureSampler, make_texture, texture_specs

PIECES = 4  # textures of a chart, about
TEXTURE_PX = 1024  # largest side


@dataclass(frozen=True)
class SimulatedPair:
    """Two photos of one flat thing."""

    distance_m: float
    image: Tensor  # `[3, H, W]` at the working aperture, linear light 0..1
    sharp_image: Tensor  # stopped down


def simulate_pairs(
    params: Parameters,
    bank: PsfBank,
    sharp_bank: PsfBank,
    distances_m: NDArray[np.float64],
    generator: np.random.Generator,
) -> Iterator[SimulatedPair]:
    """Render charts at `distances_m` `[N]` through a lens at two apertures, and expose them.

    Args:
        params: Encoding of the camera, noise, shares of textures.
        bank: Of the lens at its working aperture.
        sharp_bank: Of the lens stopped down.
        distances_m: From `camera.distance_reference` [m].
        generator: Source of randomness.
    """
    camera, encoding = params.camera, params.camera.encoding
    frame = Frame(camera.height_px, camera.width_px, bank.radius_px)
    side_px = min(TEXTURE_PX, 2 * max(camera.width_px, camera.height_px))
    specs = list(texture_specs(params.seed, side_px, {"train": PIECES * len(distances_m)}))
    with one_thread():
        textures = [(spec.source, make_texture(spec)) for spec in specs]
        options = params.captures.model_copy(update={"weak_texture_share": 0.0})
        sampler = TextureSampler(textures, options)
        for distance in distances_m.tolist():
            layers = compose_chart(frame, sampler, distance, generator).layers
            light = [sensor_light(layer.rgb, encoding) for layer in layers]
            layers = tuple(
                type(layer)(rgb, layer.alpha, layer.distance_m)
                for layer, rgb in zip(layers, light, strict=True)
            )
            photos = [
                photograph(render(one, layers), params.noise, encoding, generator)[0]
                for one in (bank, sharp_bank)
            ]
            yield SimulatedPair(distance, *photos)
