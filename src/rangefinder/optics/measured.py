"""Point spread functions measured with a point source: a picture of it per distance and place.

Names say where the source was: `psf_1.25m_x240_y180.png` is a crop centred on a source 1.25 m away
that is seen at column 240 and row 180 of the sensor.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from rangefinder.camera import Camera
from rangefinder.config import BankParams
from rangefinder.errors import LensError
from rangefinder.optics.kernels import FieldPoints

Float = NDArray[np.float64]
NAME = re.compile(r"psf_(\d+(?:\.\d+)?)m_x(\d+(?:\.\d+)?)_y(\d+(?:\.\d+)?)")
SUFFIXES = (".png", ".tif", ".tiff")
BACKGROUND_QUANTILE = 0.2  # of a crop's border
NEIGHBOURS = 3  # measured places that a field node is interpolated from
LEAST_DISTANCES = 3


@dataclass(frozen=True)
class PointSource:
    """One measured point spread function: where, and its kernel `[3, k, k]`, each sum 1."""

    distance_m: float
    x_px: float
    y_px: float
    kernel: Float
    light: float


def measured_kernels(
    folder: Path, camera: Camera, params: BankParams, distances_m: Float, field: FieldPoints
) -> tuple[NDArray[np.float32], Float]:
    """Kernels interpolated from measured ones: linearly in dioptres, by nearness in the field.

    Args:
        folder: Holds the crops, of one exposure.
        camera: The camera record; its lens is taken as symmetric about both axes.
        params: Bank parameters.
        distances_m: `[D]` distances wanted.
        field: `P` places wanted.

    Returns:
        Kernels `[D, P, 3, k, k]`, each of sum 1, and light `[D, P]` relative to the axis.

    Raises:
        LensError: If there are too few crops, or none so near or so far.
    """
    sources = read_sources(folder, params.kernel_px)
    measured = np.array(sorted({source.distance_m for source in sources}))
    _require_range(measured, distances_m)
    nodes = field.radii_px[field.point_radius][:, None] * np.stack(
        [np.cos(field.point_angle), np.sin(field.point_angle)], axis=1
    )
    planes = [_plane(sources, distance, camera, nodes) for distance in measured]
    kernels = np.stack([plane[0] for plane in planes])
    light = np.stack([plane[1] for plane in planes])
    order = np.argsort(1 / measured)
    place = np.interp(1 / distances_m, (1 / measured)[order], order)
    before = np.minimum(place.astype(np.int64), len(measured) - 2)
    way = (place - before)[:, None]
    mixed_light = light[before] * (1 - way) + light[before + 1] * way
    way = way[..., None, None, None]
    mixed = kernels[before] * (1 - way) + kernels[before + 1] * way
    axis = int(np.argmin(field.point_radius))
    return mixed.astype(np.float32), mixed_light / mixed_light[:, axis : axis + 1]


def read_sources(folder: Path, kernel_px: int) -> list[PointSource]:
    """Read every crop of a folder.

    Raises:
        LensError: If there are too few, or one holds no point.
    """
    found = []
    for path in sorted(folder.glob("*")):
        match = NAME.fullmatch(path.stem)
        if match and path.suffix.lower() in SUFFIXES:
            distance, x, y = (float(number) for number in match.groups())
            found.append(_source(path, (distance, x, y), kernel_px))
    distances = {source.distance_m for source in found}
    if len(distances) < LEAST_DISTANCES:
        raise LensError(
            f"{folder.name} holds too few point sources",
            got=f"{len(found)} crops at {len(distances)} distances",
            expected=f"psf_1.25m_x240_y180.png and so on, at {LEAST_DISTANCES} distances or more",
        )
    return found


def _source(path: Path, where: tuple[float, float, float], kernel_px: int) -> PointSource:
    pixels = _linear(path)
    border = np.concatenate(
        [pixels[:, 0], pixels[:, -1], pixels[:, :, 0], pixels[:, :, -1]], axis=1
    )
    level = np.quantile(border, BACKGROUND_QUANTILE, axis=1)
    light = (pixels - level[:, None, None]).clip(min=0)
    total = light.sum(axis=(1, 2))
    if np.any(total <= 0) or pixels.max() >= 1.0:
        raise LensError(
            f"{path.name} shows no point source that could be measured",
            got="a burnt-out crop" if pixels.max() >= 1.0 else "an even grey",
            todo="Take it again with another exposure.",
        )
    rows, cols = ndimage.center_of_mass(light[1])  # the bank centres on green
    centre = (kernel_px - 1) / 2
    kernel = np.zeros((3, kernel_px, kernel_px))
    for colour in range(3):
        grid = np.mgrid[:kernel_px, :kernel_px].astype(np.float64)
        at = [grid[0] + rows - centre, grid[1] + cols - centre]
        kernel[colour] = ndimage.map_coordinates(light[colour], at, order=1).clip(min=0)
        kernel[colour] /= max(kernel[colour].sum(), 1e-12)
    return PointSource(*where, kernel, float(total[1]))


def _linear(path: Path) -> Float:
    """Linear light `[3, H, W]` of a crop: 16 bits as they are, 8 bits from sRGB."""
    from PIL import Image

    try:
        if path.suffix.lower() == ".png":
            with Image.open(path) as picture:
                pixels = np.asarray(picture)
        else:
            import tifffile

            pixels = np.asarray(tifffile.imread(path))
    except (OSError, ValueError) as exc:
        raise LensError(f"{path.name} cannot be read ({exc})") from exc
    values = pixels.astype(np.float64)
    values = values / (2 ** (8 * pixels.dtype.itemsize) - 1) if pixels.dtype.kind == "u" else values
    if pixels.dtype == np.uint8:
        values = np.where(values <= 0.04045, values / 12.92, ((values + 0.055) / 1.055) ** 2.4)
    if values.ndim == 2:
        values = np.repeat(values[..., None], 3, axis=2)
    return np.asarray(values[..., :3].transpose(2, 0, 1))


def _require_range(measured_m: Float, wanted_m: Float) -> None:
    near, far = float(measured_m.min()), float(measured_m.max())
    slack = 1e-3
    if wanted_m.min() < near * (1 - slack) or wanted_m.max() > far * (1 + slack):
        raise LensError(
            "no point sources were measured so near or so far",
            got=f"{near:g} to {far:g} m",
            expected=f"{wanted_m.min():.4g} to {wanted_m.max():.4g} m (range.working_m)",
            todo="Measure more, or narrow range.working_m.",
        )


def _plane(
    sources: list[PointSource], distance_m: float, camera: Camera, nodes: Float
) -> tuple[Float, Float]:
    """Kernels `[P, 3, k, k]` and light `[P]` at one measured distance, folded into one quadrant."""
    here = [source for source in sources if source.distance_m == distance_m]
    offsets = np.array([[s.x_px, s.y_px] for s in here]) - np.array(camera.centre_px)
    folded = np.stack(
        [
            source.kernel[:, :: -1 if y < 0 else 1, :: -1 if x < 0 else 1]
            for source, (x, y) in zip(here, offsets, strict=True)
        ]
    )
    away = np.hypot(*(nodes[:, None] - np.abs(offsets)[None]).transpose(2, 0, 1))
    nearest = np.argsort(away, axis=1)[:, :NEIGHBOURS]
    weight = 1 / (np.take_along_axis(away, nearest, axis=1) + 1e-3)
    weight /= weight.sum(axis=1, keepdims=True)
    light = np.array([source.light for source in here])
    kernels = np.einsum("pn,pnckl->pckl", weight, folded[nearest])
    return kernels, np.asarray((weight * light[nearest]).sum(axis=1))
