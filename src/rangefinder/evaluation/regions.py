"""Which pixels are scored, and in which regions of the image they lie.

Every scored pixel falls into one cell of (texture, position, edge, distance, frame); a region is
a sum over cells. Cells depend on the capture alone, never on a model.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from rangefinder.camera import Camera
from rangefinder.captures.distance_maps import near_edges
from rangefinder.captures.manifest import CaptureSet
from rangefinder.config import EvaluationParams, Parameters
from rangefinder.coordinates import location_map
from rangefinder.errors import CaptureError
from rangefinder.evaluation.curves import LogHistogram
from rangefinder.evaluation.metrics import Float

Bool = NDArray[np.bool_]
Index = NDArray[np.intp]
Box: TypeAlias = tuple[int, int, int, int]
Support: TypeAlias = Box | Bool | Callable[[int], Box | Bool]

TEXTURE, POSITION, EDGE, DISTANCE, FRAME = range(5)
TEXTURES = ("strong", "weak")  # the third index: texture unknown
POSITIONS = ("centre", "corner")  # the third index: between
EDGES = ("near", "far")
SIDES = ("before", "behind")  # of the focus
SENSOR_COLUMNS = 8  # of cells that errors are mapped in


@dataclass(frozen=True)
class ScoredPixels:
    """The scored pixels of one capture."""

    flat: Index  # `[N]` indices in the flattened image: truth known and within the reported range
    truth_m: Float  # `[N]` true distance [m]
    cell: Index  # `[N]` flat index of each pixel's cell
    side: Index  # `[N]` index in `SIDES` of the true distance
    sensor_cell: Index  # `[N]` flat index of the sensor's cell
    inside: Bool  # `[N]` whether the pixel is within the support
    shape: tuple[int, int]  # height and width of the image [px]


@dataclass(frozen=True)
class Regions:
    """Sorts the pixels of captures into cells.

    Attributes:
        params: Reported range, distance bins, radii, edge band and share of strong texture.
        support: Pixels that all models cover: (left, top, right, bottom) [px], a mask `[H, W]`, or
            a function from the capture's index to either.
        strong_texture: Smallest gradient energy that counts as strong texture; captures store it
            averaged over `captures.texture_window_px`.
    """

    params: Parameters
    support: Support
    strong_texture: float

    @classmethod
    def over(cls, captures: CaptureSet, params: Parameters, support: Support) -> Regions:
        """Regions whose texture threshold splits the scored pixels of all captures."""
        energies = LogHistogram()
        regions = cls(params, support, float("inf"))
        for index in range(len(captures)):
            texture = captures.texture(index)
            if texture is not None:
                _, mask, inside = regions._scored(captures, index)
                energy = np.asarray(texture, dtype=np.float32)[mask & inside]
                energies.add(energy[np.isfinite(energy)])
        share = params.evaluation.strong_texture_share
        return cls(params, support, energies.upper_share(share))

    @property
    def cell_shape(self) -> tuple[int, ...]:
        """Length of each axis of the cells; the last distance index lies outside all bins."""
        edges = self._conf.distance_edges_m
        return len(TEXTURES) + 1, len(POSITIONS) + 1, len(EDGES), len(edges), 2

    @property
    def distance_names(self) -> tuple[str, ...]:
        """Names of the distance bins, such as "0.7-1.0" [m]."""
        edges = map(float, self._conf.distance_edges_m)
        return tuple(f"{near}-{far}" for near, far in pairwise(edges))

    def of(self, captures: CaptureSet, index: int) -> ScoredPixels:
        """Scored pixels of one capture and their cells."""
        truth, mask, inside = self._scored(captures, index)
        location = location_map(captures.camera, captures.placement(index), *truth.shape)
        axes = (
            self._texture_index(captures, index, truth.shape),
            self._position_index(location),
            (~near_edges(truth, self._conf.edge_step, self._conf.edge_band_px)).astype(np.intp),
            self._distance_index(truth),
            (~inside).astype(np.intp),
        )
        flat = np.flatnonzero(mask)
        cell = np.ravel_multi_index(tuple(axis.ravel()[flat] for axis in axes), self.cell_shape)
        truth_m, shape = truth.ravel()[flat], (truth.shape[0], truth.shape[1])
        side = (truth_m >= captures.camera.focus_distance_m).astype(np.intp)
        sensor_cell = sensor_cells(captures.camera, location).ravel()[flat]
        inside = inside.ravel()[flat]
        return ScoredPixels(flat, truth_m, np.asarray(cell), side, sensor_cell, inside, shape)

    @property
    def _conf(self) -> EvaluationParams:
        return self.params.evaluation

    def _scored(self, captures: CaptureSet, index: int) -> tuple[Float, Bool, Bool]:
        truth = np.asarray(captures.distance_map(index), dtype=np.float32)
        near, far = self.params.range.report_m
        mask = (truth >= near) & (truth <= far)
        height, width = truth.shape
        return truth, mask, support_mask(self.support, index, (height, width))

    def _texture_index(self, captures: CaptureSet, index: int, shape: tuple[int, ...]) -> Index:
        texture = captures.texture(index)
        if texture is None:
            return np.full(shape, len(TEXTURES))
        energy = np.asarray(texture, dtype=np.float32)
        known = np.isfinite(energy)
        return np.where(known, np.where(energy >= self.strong_texture, 0, 1), len(TEXTURES))

    def _position_index(self, location: Float) -> Index:
        radius = np.hypot(location[0], location[1])
        corner = np.where(radius > self._conf.corner_radius, 1, len(POSITIONS))
        return np.where(radius < self._conf.centre_radius, 0, corner)

    def _distance_index(self, truth_m: Float) -> Index:
        edges = np.asarray(self._conf.distance_edges_m, dtype=np.float32)
        index = np.searchsorted(edges, truth_m, side="right") - 1
        index = np.where(truth_m == edges[-1], len(edges) - 2, index)
        return np.where(index < 0, len(edges) - 1, index)


def sensor_grid(camera: Camera) -> tuple[int, int]:
    """Rows and columns of the cells, about square, that errors are mapped in."""
    return max(1, round(SENSOR_COLUMNS * camera.height_px / camera.width_px)), SENSOR_COLUMNS


def sensor_cells(camera: Camera, location: Float) -> Index:
    """Flat index `[...]` of the sensor's cell at locations `[2, ...]`."""
    rows, columns = sensor_grid(camera)
    x_px, y_px = (
        axis * camera.half_diagonal_px + centre
        for axis, centre in zip(location, camera.centre_px, strict=True)
    )
    column = np.clip((x_px * (columns / camera.width_px)).astype(np.intp), 0, columns - 1)
    row = np.clip((y_px * (rows / camera.height_px)).astype(np.intp), 0, rows - 1)
    return np.asarray(row * columns + column)


def support_mask(support: Support, index: int, shape: tuple[int, int]) -> Bool:
    """Mask `[H, W]` of the support in one capture.

    Args:
        support: Box, mask, or function of the capture's index.
        index: The capture.
        shape: Height and width of the capture [px].

    Raises:
        CaptureError: If the mask or the box does not fit the capture.
    """
    area = support(index) if callable(support) else support
    if isinstance(area, np.ndarray):
        if area.shape != shape:
            raise CaptureError(
                f"the support mask does not fit capture {index}",
                got=f"shape {area.shape}",
                expected=f"shape {shape}",
                todo="Pass one mask per capture: a function of its index.",
            )
        return area.astype(np.bool_)
    left, top, right, bottom = area
    if not (0 <= left < right <= shape[1] and 0 <= top < bottom <= shape[0]):
        raise CaptureError(
            f"the support box does not fit capture {index}",
            got=f"(left, top, right, bottom) = {area} px",
            expected=f"a box within {shape[1]}x{shape[0]} px",
            todo="Pass one box per capture: a function of its index.",
        )
    mask = np.zeros(shape, dtype=np.bool_)
    mask[top:bottom, left:right] = True
    return mask
