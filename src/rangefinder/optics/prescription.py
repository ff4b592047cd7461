"""From a camera record to a focused lens for ray tracing.

Importing optiland takes seconds, so it is imported inside the functions.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from rangefinder.camera import Camera
from rangefinder.errors import LensError
from rangefinder.optics.lens_data import (
    AGREEMENT,
    LensData,
    lens_data,
    marginal_heights_mm,
    paraxial_rays,
    powers,
    ray_heights_mm,
)
from rangefinder.optics.lens_files import quiet
from rangefinder.optics.lens_formats import OTHER_LENS

if TYPE_CHECKING:
    from optiland.optic import Optic


Float = NDArray[np.float64]
FOCUS_STEPS = 30  # fixed-point steps; each shrinks the error by about (focal length / distance)^2
CHIEF_STEPS = 60  # fixed-point steps; each shrinks the error by about the relative distortion
CHIEF_TOLERANCE = 1e-6  # relative


@dataclass(frozen=True)
class FocusedLens:
    """A lens with stop, clear apertures and sensor; lengths in mm, z = 0 at the front vertex.

    Attributes:
        surfaces: `[S, 4 + P]` vertex z, radius, conic constant, clear radius and the coefficients
            of r, r^2, ... r^P that an asphere adds; the sensor is the last.
    """

    name: str  # of the sample or the file, for messages
    surfaces: Float
    indices: Float  # `[W, S + 1]` refractive indices before the first and after each surface
    pupil_z_mm: float  # position of the (paraxial) entrance pupil
    pupil_radius_mm: float  # its radius
    reference_z_mm: float  # position that distances are measured from

    def object_z_mm(self, distance_m: Float) -> Float:
        """Position of objects at `distance_m`; the only conversion of distances in ray tracing.

        Raises:
            LensError: If an object would be inside the lens.
        """
        z = self.reference_z_mm - 1000.0 * np.asarray(distance_m, dtype=np.float64)
        if np.any(z >= -self.pupil_radius_mm):
            raise LensError(
                f"an object is in or at the lens {self.name}",
                got=f"{np.min(distance_m):.3f} m, {np.max(z):.0f} mm behind the front vertex",
                expected=f"more than {(self.reference_z_mm + self.pupil_radius_mm) / 1000:.3f} m",
                todo="Set a larger range.working_m and camera.focus_distance_m, or another "
                f"camera.distance_reference. {OTHER_LENS}",
            )
        return z


@quiet()
def focused_optic(camera: Camera, home: Path = Path()) -> Optic:
    """The lens as optiland's object: scaled, stopped down, focused, with clear apertures.

    `camera.lens.file` is relative to `home`.

    Raises:
        LensError: If there is no such lens, or it does not fit the camera record.
    """
    return _fitted(lens_data(camera, home), camera)


def _fitted(lens: LensData, camera: Camera) -> Optic:
    """`focused_optic` of a lens; its object is changed."""
    _require_as_wide(lens, camera)
    scale = camera.focal_length_mm / lens.focal_length_mm
    lens.optic.updater.scale_system(scale)
    lens.optic.set_aperture(aperture_type="EPD", value=camera.focal_length_mm / camera.f_number)
    _focus(lens, camera)
    _set_clear_apertures(lens, camera, scale * lens.pupil_mm)
    return lens.optic


@quiet()
def focused_lens(
    camera: Camera, wavelengths_um: Float, home: Path = Path(), stop_f_number: float | None = None
) -> FocusedLens:
    """`focused_optic` as arrays for ray tracing; raises the same.

    Args:
        camera: The camera record.
        wavelengths_um: `[W]` wavelengths.
        home: Folder that `camera.lens.file` is relative to.
        stop_f_number: f-number that the stop is closed to, all else as it is; None: the record's.
    """
    lens = lens_data(camera, home)
    optic = _fitted(lens, camera)
    indices = np.stack([np.asarray(optic.surfaces.n(w)) for w in wavelengths_um])
    surfaces = _surface_array(optic)
    surfaces[optic.surfaces.stop_index - 1, 3] *= camera.f_number / (
        stop_f_number or camera.f_number
    )
    return FocusedLens(
        name=lens.name,
        surfaces=surfaces,
        indices=np.ascontiguousarray(indices, dtype=np.float64),
        pupil_z_mm=_pupil_z_mm(optic),
        pupil_radius_mm=float(optic.paraxial.EPD()) / 2.0,
        reference_z_mm=_reference_z_mm(optic, camera),
    )


def _surface_array(optic: Optic) -> Float:
    """`FocusedLens.surfaces`."""
    surfaces = list(optic.surfaces)[1:]
    added = [powers(surface.geometry) for surface in surfaces]
    array = np.zeros((len(surfaces), 4 + max(len(coefficients) for coefficients in added)))
    for row, surface, coefficients in zip(array, surfaces, added, strict=True):
        geometry, aperture = surface.geometry, surface.aperture
        row[:3] = geometry.cs.z, geometry.radius, getattr(geometry, "k", 0.0)
        row[3] = aperture.r_max if aperture else math.inf
        row[4 : 4 + len(coefficients)] = coefficients
    return array


def _require_as_wide(lens: LensData, camera: Camera) -> None:
    """Refuse a camera record that is wider open than its lens."""
    if camera.f_number < lens.f_number * (1.0 - AGREEMENT):
        raise LensError(
            f"{lens.name} does not open this far",
            got=f"camera.f_number {camera.f_number:g}",
            expected=f"at least {math.ceil(lens.f_number * 100) / 100:.2f}, what its file allows",
            todo=f"Set camera.f_number higher. {OTHER_LENS}",
        )


def _set_clear_apertures(lens: LensData, camera: Camera, widest_mm: float) -> None:
    """Set the clear aperture of every surface of the focused lens; the stop's is its on-axis beam.

    A file may have clear diameters; they stay. Otherwise, near the stop, clear apertures about as
    wide as the on-axis beam, of the widest pupil (`widest_mm`) where that is known, cause the
    vignetting; far from it they must be wider for light to reach the corners of the sensor.
    """
    from optiland.physical_apertures import RadialAperture

    optic = lens.optic
    beam = marginal_heights_mm(optic, camera.focal_length_mm / camera.f_number)
    if not np.all(np.isfinite(beam)):
        passing = camera.f_number
        while not np.all(np.isfinite(beam)):
            passing *= 1.05
            beam = marginal_heights_mm(optic, camera.focal_length_mm / passing)
        raise LensError(
            f"{lens.name} cannot be opened this far: its marginal ray does not pass",
            got=f"camera.f_number {camera.f_number:g}",
            expected=f"at least {math.ceil(passing * 10) / 10:.1f}",
            todo=f"Set camera.f_number higher. {OTHER_LENS}",
        )
    full = marginal_heights_mm(optic, widest_mm) if math.isfinite(widest_mm) else beam
    corner = _corner_heights_mm(lens, camera) + camera.lens.corner_pupil * full
    clear = np.maximum(camera.lens.clear_radius_factor * full, corner)
    stop = optic.surfaces.stop_index
    for i, surface in list(enumerate(optic.surfaces))[1:-1]:
        if i == stop or surface.aperture is None:
            surface.aperture = RadialAperture(r_max=float(beam[i] if i == stop else clear[i]))


def _corner_heights_mm(lens: LensData, camera: Camera) -> Float:
    """Heights of the chief ray from the focus distance to the sensor's farthest corner."""
    size, centre = np.array([camera.width_px, camera.height_px]), np.array(camera.centre_px)
    corner_px = float(np.hypot(*np.maximum(centre, size - centre)))
    corner_mm = corner_px * camera.pixel_pitch_um / 1000.0
    optic, pupil_z = lens.optic, _pupil_z_mm(lens.optic)
    depth = pupil_z + float(optic.surfaces[0].thickness)
    slope = corner_mm / camera.focal_length_mm
    for _ in range(CHIEF_STEPS):
        heights = ray_heights_mm(optic, (-slope * depth, pupil_z - depth), slope)
        if abs(abs(heights[-1]) - corner_mm) < CHIEF_TOLERANCE * corner_mm:
            return np.abs(heights)
        slope *= corner_mm / abs(heights[-1])
    raise outside_image_circle(lens.name, corner_mm)


def outside_image_circle(name: str, corner_mm: float) -> LensError:
    """The error for a sensor whose corner, so far from the optical centre, gets no chief ray."""
    return LensError(
        f"the sensor is larger than the image circle of {name}",
        got=f"a corner {corner_mm:.1f} mm from the optical centre",
        todo=f"Make the sensor smaller (camera.width_px, camera.pixel_pitch_um). {OTHER_LENS}",
    )


def _pupil_z_mm(optic: Optic) -> float:
    """Position of the paraxial entrance pupil."""
    with paraxial_rays(optic) as paraxial:
        return float(paraxial.EPL())


def _reference_z_mm(optic: Optic, camera: Camera) -> float:
    """Position that the camera record's distances are measured from."""
    reference_mm = 0.0
    if camera.distance_reference == "sensor":
        reference_mm = float(optic.image_surface.geometry.cs.z)
    elif camera.distance_reference == "entrance_pupil":
        reference_mm = _pupil_z_mm(optic)
    return reference_mm - 1000.0 * camera.distance_offset_m


def _focus(lens: LensData, camera: Camera) -> None:
    """Move the sensor to the paraxial image of the focus distance (fixed point).

    The focus distance may itself be measured from the sensor.
    """
    optic = lens.optic
    for _ in range(FOCUS_STEPS):
        object_mm = 1000.0 * camera.focus_distance_m - _reference_z_mm(optic, camera)
        if object_mm <= 2.0 * camera.focal_length_mm:
            needed = (_reference_z_mm(optic, camera) + 2.0 * camera.focal_length_mm) / 1000.0
            raise LensError(
                f"{lens.name} does not focus this near",
                got=f"camera.focus_distance_m {camera.focus_distance_m:g}",
                expected=f"more than {needed:.3g} with this lens and camera.distance_reference",
                todo="Set camera.focus_distance_m farther away.",
            )
        optic.updater.set_thickness(object_mm, 0)
        before = float(optic.image_surface.geometry.cs.z)
        with paraxial_rays(optic):
            optic.updater.image_solve()
        if abs(float(optic.image_surface.geometry.cs.z) - before) < 1e-9 * camera.focal_length_mm:
            return
    raise LensError(
        f"focusing {lens.name} does not converge",
        got=f"camera.focus_distance_m {camera.focus_distance_m:g}",
        todo="Set camera.focus_distance_m farther away.",
    )
