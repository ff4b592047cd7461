"""The lens that `rangefinder calibrate` found: its file, and kernels from it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pydantic import FiniteFloat, TypeAdapter
from tqdm import tqdm

from rangefinder.camera import Camera
from rangefinder.common.foreign import guarded
from rangefinder.common.sealed import read_arrays, write_arrays
from rangefinder.config import BankParams
from rangefinder.errors import LensError
from rangefinder.optics.blur import image_distance_m, require_room
from rangefinder.optics.lens_model import FINE_RAYS, LensModel, LensShape, Points
from rangefinder.optics.psf_tracing import (
    MAX_LOST_LIGHT,
    FieldPoints,
    Sampling,
    kernel_side_px,
    kernel_too_small,
    larger_kernel,
)
from rangefinder.optics.residual_kernels import ResidualKernels

Float = NDArray[np.float64]
COLOURS = 3
AGREEMENT = 2e-3  # relative, of a camera record and that of the calibration; records are rounded
GEOMETRY = ("focal_length_mm", "pixel_pitch_um", "width_px", "height_px")
FITTED = ("f_number", "focus_distance_m")
_NUMBERS = TypeAdapter(dict[str, FiniteFloat])
AGAIN = "Calibrate again, with this camera record."


@dataclass(frozen=True)
class CalibratedLens:
    """A fitted lens, and what its model does not explain."""

    model: LensModel
    residual: ResidualKernels | None = None  # None: nothing that helps

    def save(self, path: Path) -> None:
        """Write a safetensors file atomically."""
        density = np.zeros(0) if self.residual is None else self.residual.density
        record = self.model.record.model_dump(mode="json", exclude={"lens", "encoding"})
        metadata = {"camera": record, "shape": self.model.as_dict()}
        write_arrays(path, {"density": density}, metadata)

    @classmethod
    def load(cls, path: Path) -> CalibratedLens:
        """Read what `save` wrote.

        Raises:
            LensError: If it is damaged, or another file.
        """
        with guarded(
            LensError,
            f"{path} holds no calibrated lens",
            expected="a file that `rangefinder calibrate` wrote",
            todo="Name it in camera.lens.file, from the project's folder.",
        ):
            arrays, metadata = read_arrays(path, ["density"])
            density = arrays["density"]
            record = Camera.model_validate(metadata["camera"])
            shape = LensShape(**_NUMBERS.validate_python(metadata["shape"]))
            Camera.model_validate(shape.camera(record).model_dump())
            residual = ResidualKernels(density) if density.size else None
        return cls(LensModel(record, shape), residual)

    def require(self, camera: Camera) -> None:
        """Refuse a camera record that is not the one this lens was calibrated for.

        Raises:
            LensError: In that case.
        """
        own = self.model.camera
        for name in GEOMETRY + FITTED:
            found, expected = getattr(camera, name), getattr(own, name)
            if not math.isclose(found, expected, rel_tol=AGREEMENT):
                raise LensError(
                    "the lens was calibrated for another camera record",
                    got=f"camera.{name} {found:g}",
                    expected=f"{expected:.5g}",
                    todo=f"Take the camera.yml that calibration wrote. {AGAIN}",
                )
        zero = camera.distance_reference, round(camera.distance_offset_m, 3)
        own_zero = own.distance_reference, round(own.distance_offset_m, 3)
        if zero[0] != own_zero[0] or abs(zero[1] - own_zero[1]) > AGREEMENT:
            raise LensError(
                "the lens was calibrated for another zero of distances",
                got=f"{zero[0]} and {zero[1]:g} m",
                expected=f"{own_zero[0]} and {own_zero[1]:g} m "
                "(camera.distance_reference, distance_offset_m)",
                todo=f"Take the camera.yml that calibration wrote. {AGAIN}",
            )

    def kernels(
        self, points: Points, response: Float, stop: float = 1.0, rays: int = FINE_RAYS
    ) -> tuple[Float, Float]:
        """Kernels `[N, k, k]` and light `[N]`: see `LensModel.kernels`."""
        kernels, light = self.model.kernels(points, response, stop, rays)
        if self.residual is not None and stop == 1.0:
            kernels = self.residual.added(kernels, self.model.blur_px(points.distance_m), points)
        return kernels, light


def calibrated_kernels(
    path: Path,
    camera: Camera,
    params: BankParams,
    distances_m: Float,
    field: FieldPoints,
    stop_f_number: float | None = None,
) -> tuple[NDArray[np.float32], Float]:
    """`psf_sources.lens_kernels` of a calibrated lens; cos^4 illumination beside its vignetting.

    Raises:
        LensError: If the file is none, of another camera, or blur is larger than a kernel.
    """
    require_room(camera, distances_m)
    lens = CalibratedLens.load(path)
    lens.require(camera)
    response = Sampling.of(camera, params).response
    radius_px = field.radii_px[field.point_radius]
    cosine = np.cos(np.arctan(radius_px * camera.pixel_pitch_um * 1e-6 / image_distance_m(camera)))
    count = radius_px.size
    radius = np.tile(radius_px / camera.half_diagonal_px, COLOURS)
    angle, colour = np.tile(field.point_angle, COLOURS), np.repeat(np.arange(COLOURS), count)
    axis = int(np.argmin(radius_px))
    stop = lens.model.shape.f_number / (stop_f_number or lens.model.shape.f_number)
    kernels = np.empty((len(distances_m), count, COLOURS, *(params.kernel_px,) * 2), np.float32)
    flux = np.empty((len(distances_m), count))
    bar = tqdm(distances_m, "point spread functions", disable=None, unit="plane")
    for plane, distance in enumerate(bar):
        points = Points(np.full(len(radius), distance), radius, angle, colour)
        every, light = lens.kernels(points, response, stop)
        kept = every.sum(axis=(1, 2))
        lost = 1 - float(kept.min())
        if lost > MAX_LOST_LIGHT:
            reach = _reach_px(lens, distances_m, radius)
            raise kernel_too_small(
                lost, params, larger_kernel(camera, kernel_side_px(reach, params))
            )
        every /= kept[:, None, None]
        kernels[plane] = every.reshape(COLOURS, count, *every.shape[1:]).swapaxes(0, 1)
        open_share = light[:count] * cosine**4
        flux[plane] = open_share / open_share[axis]
    return kernels, flux


def _reach_px(lens: CalibratedLens, distances_m: Float, radius: Float) -> float:
    """Radius [px] that holds the blur of all distances over the field, or more."""
    shape, half = lens.model.shape, lens.model.px_per_dpt / 2
    h2 = radius**2
    curvature = np.concatenate(
        [
            shape.tangential_dpt * h2 + shape.tangential4_dpt * h2**2,
            shape.sagittal_dpt * h2 + shape.sagittal4_dpt * h2**2,
        ]
    )
    green = lens.model.defocus_dpt(distances_m)[:, None] - curvature
    colour = max(abs(shape.red_dpt), abs(shape.blue_dpt)) + abs(shape.spherical_dpt) / 2
    edge = np.abs(green).max() + colour + 3 * abs(shape.coma_dpt) * radius.max()
    return float(half * edge) + max(abs(shape.red_px), abs(shape.blue_px))
