"""The survey of one camera: its lens's limits over distance, field and texture, as a table."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from tqdm import tqdm

from rangefinder.camera import Camera
from rangefinder.config import BankParams, Interval, LimitParams
from rangefinder.optics.border import disc_px
from rangefinder.optics.lens import PsfBank, build_bank
from rangefinder.optics.limit import (
    Patch,
    Texture,
    covariance,
    distance_sd_dpt,
    hardest,
)

Float = NDArray[np.float64]
FIELD_NODES = 3  # per axis: centre, edges and corners
RADII = (0.0, 0.8, 1.0)  # places of the field that are reported, half diagonal = 1
GREEN = 1


def survey_bank(
    camera: Camera, bank: BankParams, working_m: Interval, params: LimitParams
) -> PsfBank:
    """A bank fine in distance and coarse in field.

    Raises:
        LensError: If the lens cannot be traced; see `build_bank`.
    """
    size = {"field_rows": FIELD_NODES, "field_cols": FIELD_NODES, "distances": params.planes}
    return build_bank(camera, bank.model_copy(update=size), working_m)


def textures(params: LimitParams) -> dict[str, Texture]:
    """The textures that are asked about, by name."""
    contrasts = {"strong": params.strong_contrast, "weak": params.weak_contrast}
    return {
        f"{contrast} {colour}": Texture.of(value, mix, params.slope)
        for contrast, value in contrasts.items()
        for colour, mix in (("grey", 0.0), ("coloured", params.coloured))
    }


def survey(bank: PsfBank, camera: Camera, patch_px: int, params: LimitParams) -> pd.DataFrame:
    """Blur, Cramer-Rao bound and confusion of front and behind.

    Args:
        bank: Point spread functions, planes equally spaced in dioptres.
        camera: The camera record; its focus parts front from behind.
        patch_px: Side of the patch that is looked at [px].
        params: Textures, noise and how finely to look.

    Returns:
        One row per (radius, texture, distance): `radius`, `texture`, `distance_m`, `blur_px`
        (diameter of the disc of the same rms width, green), `sd_m` (least standard deviation of
        an unbiased estimate), `confusion` (bound of the probability of taking it for the most
        similar distance on the other side of focus; 0.5: a coin toss) and `partner_m` (that
        distance; NaN: the range has no other side).
    """
    places = _places(bank, camera, RADII)
    kinds = textures(params)
    frames = []
    with tqdm(total=len(places) * len(kinds), desc="limits", disable=None) as bar:
        for radius, node in places:
            view = _View.of(bank, node, patch_px, params)
            for name, texture in kinds.items():
                frame = view.limits(texture, 1.0 / camera.focus_distance_m)
                frame.insert(0, "texture", name)
                frame.insert(0, "radius", round(radius, 3))
                frames.append(frame)
                bar.update()
    return pd.concat(frames, ignore_index=True)


def _places(
    bank: PsfBank, camera: Camera, radii: tuple[float, ...]
) -> list[tuple[float, tuple[int, int]]]:
    """Radius and node of the bank's nodes nearest to `radii`."""
    y = bank.field_y_px.numpy()[:, None] - camera.centre_px[1]
    x = bank.field_x_px.numpy()[None] - camera.centre_px[0]
    radius = np.hypot(y, x) / camera.half_diagonal_px
    found = {}
    for wanted in radii:
        row, col = np.unravel_index(np.argmin(np.abs(radius - wanted)), radius.shape)
        found[float(radius[row, col])] = (int(row), int(col))
    return sorted(found.items())


@dataclass(frozen=True, eq=False)
class _View:
    """One place of the field, seen through one patch."""

    kernels: torch.Tensor
    inverse_dpt: Float
    noise: float
    patch_px: int
    params: LimitParams

    @classmethod
    def of(cls, bank: PsfBank, node: tuple[int, int], patch_px: int, params: LimitParams) -> _View:
        # Photons are counted: where vignetting takes light away, noise over mean grows.
        gain = float(bank.gain[:, node[0], node[1]].double().mean())
        noise = params.noise / math.sqrt(max(gain, 1e-6))
        kernels = bank.kernels[:, node[0], node[1]]
        return cls(kernels, bank.inverse_distance_dpt.numpy(), noise, patch_px, params)

    def sd_m(self, texture: Texture) -> Float:
        """Cramer-Rao bound `[D]` [m]."""
        patch = Patch(self.patch_px)
        transfer = patch.transfer(self.kernels)
        sd_dpt = distance_sd_dpt(patch, transfer, self.inverse_dpt, texture, self.noise)
        return np.asarray(sd_dpt / self.inverse_dpt**2)

    def limits(self, texture: Texture, focus_dpt: float) -> pd.DataFrame:
        """Rows of the survey, far to near."""
        shown = np.arange(0, self.inverse_dpt.size, self.params.every)
        confusion, partner = self._confusion(texture, focus_dpt, shown)
        return pd.DataFrame(
            {
                "distance_m": 1.0 / self.inverse_dpt[shown],
                "blur_px": disc_px(self.kernels[:, GREEN])[shown],
                "sd_m": self.sd_m(texture)[shown],
                "confusion": confusion,
                "partner_m": partner,
            }
        )

    def _confusion(
        self, texture: Texture, focus_dpt: float, shown: NDArray[np.intp]
    ) -> tuple[Float, Float]:
        patch = Patch(self.patch_px, self.params.frequency_share)
        transfer = patch.transfer(self.kernels)
        true = covariance(patch, transfer, texture, self.noise)
        confusion, partner = np.zeros(shown.size), np.full(shown.size, np.nan)
        for place, other in self._other_side(focus_dpt, shown):
            seen = true[shown[place]].expand(other.size, -1, -1, -1)
            distance = hardest(patch, seen, transfer[other], self.noise, texture, self.params)
            best = int(distance.argmin())
            confusion[place] = math.exp(-float(distance[best])) / 2.0
            partner[place] = 1.0 / self.inverse_dpt[other[best]]
        return confusion, partner

    def _other_side(
        self, focus_dpt: float, shown: NDArray[np.intp]
    ) -> Iterator[tuple[int, NDArray[np.intp]]]:
        """Planes across the focus and far enough away, for each plane that has any."""
        side = np.sign(self.inverse_dpt - focus_dpt)
        for place, plane in enumerate(shown):
            gap = np.abs(np.log(self.inverse_dpt / self.inverse_dpt[plane]))
            other = np.flatnonzero((side != side[plane]) & (gap > self.params.least_gap))
            if other.size:
                yield place, other


def strong_bound_m(bank: PsfBank, patch_px: int, params: LimitParams) -> tuple[Float, Float]:
    """The bound of strong grey texture, mean over middle and rim of the field.

    Returns:
        Distances `[D]` [m] and least standard deviations `[D]` [m].
    """
    rows, cols = ((0, nodes // 2, nodes - 1) for nodes in bank.gain.shape[1:])
    texture = textures(params)["strong grey"]
    places = list(itertools.product(rows, cols))
    bounds = [_View.of(bank, place, patch_px, params).sd_m(texture) for place in places]
    # Trapezium rule: nodes on the rim of the field stand for half the area.
    share = [_rim(row, rows) * _rim(col, cols) for row, col in places]
    return bank.distances_m.numpy(), np.average(bounds, axis=0, weights=share)


def _rim(node: int, nodes: tuple[int, ...]) -> float:
    return 0.5 if node in (nodes[0], nodes[-1]) else 1.0
