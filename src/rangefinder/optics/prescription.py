"""From a camera record to a focused lens that rays can be traced through; optiland is the source.

Import of optiland takes seconds, so it happens only inside the functions here.
"""

from __future__ import annotations

import inspect
import math
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from rangefinder.camera import Camera
from rangefinder.errors import LensError

if TYPE_CHECKING:
    from optiland.optic import Optic

Float = NDArray[np.float64]
FOCUS_STEPS = 30  # fixed-point steps; each shrinks the error by about (focal length / distance)^2
CHIEF_STEPS = 60  # fixed-point steps; each shrinks the error by about the relative distortion
CHIEF_TOLERANCE = 1e-6  # relative


@dataclass(frozen=True)
class FocusedLens:
    """A lens with stop, rims and sensor in place; lengths in mm, z = 0 at the front vertex.

    Attributes:
        surfaces: `[S, 4]` vertex z, radius, conic constant, clear radius; the sensor is the last.
        indices: `[W, S + 1]` refractive indices before the first and after each surface.
        pupil_z_mm: Place of the (paraxial) entrance pupil.
        pupil_radius_mm: Its radius.
        reference_z_mm: Place that distances are measured from.
    """

    surfaces: Float
    indices: Float
    pupil_z_mm: float
    pupil_radius_mm: float
    reference_z_mm: float

    def object_z_mm(self, distance_m: Float) -> Float:
        """Place of objects at `distance_m`; the only conversion of distances in ray tracing.

        Raises:
            LensError: If an object would stand inside the lens.
        """
        z = self.reference_z_mm - 1000.0 * np.asarray(distance_m, dtype=np.float64)
        if np.any(z >= -self.pupil_radius_mm):
            raise LensError(
                "an object stands in or at the lens",
                got=f"{np.min(distance_m):.3f} m, {np.max(z):.0f} mm behind the front vertex",
                expected=f"more than {(self.reference_z_mm + self.pupil_radius_mm) / 1000:.3f} m",
                todo="Set a larger range.working_m and camera.focus_distance_m, another "
                "camera.distance_reference or another camera.lens.name.",
            )
        return z


def sample_names() -> list[str]:
    """Names of the lenses that can be chosen: optiland's sample objectives."""
    from optiland.optic import Optic
    from optiland.samples import objectives

    return [
        name
        for name, member in inspect.getmembers(objectives, inspect.isclass)
        if issubclass(member, Optic) and member.__module__ == objectives.__name__
    ]


def focused_optic(camera: Camera, home: Path = Path()) -> Optic:
    """The objective, scaled, stopped down, given rims and focused, as optiland's object.

    Args:
        camera: The camera record.
        home: Folder that `camera.lens.file` starts from.

    Raises:
        LensError: If there is no such lens, or it cannot do what the camera record says.
    """
    if camera.lens.kind == "zemax":
        from rangefinder.optics.zemax import read_zemax

        optic = read_zemax(home / str(camera.lens.file))
    else:
        optic = _sample(camera.lens.name)
        require_supported(optic, camera.lens.name)
    focal_length = float(optic.paraxial.f2())
    if not (math.isfinite(focal_length) and focal_length > 0.0):
        raise LensError(
            f"lens {camera.lens.name} makes no image",
            got=f"focal length {focal_length:.4g}",
            expected="a finite, positive one",
            todo="Choose another camera.lens.name.",
        )
    optic.updater.scale_system(camera.focal_length_mm / focal_length)
    optic.set_aperture(aperture_type="EPD", value=camera.focal_length_mm / camera.f_number)
    _focus(optic, camera)
    _set_rims(optic, camera)
    return optic


def focused_lens(camera: Camera, wavelengths_um: Float, home: Path = Path()) -> FocusedLens:
    """Read the focused lens out of optiland.

    Args:
        camera: The camera record.
        wavelengths_um: `[W]` wavelengths to be traced.
        home: Folder that `camera.lens.file` starts from.

    Raises:
        LensError: As `focused_optic`.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # optiland: glass names that stand in two catalogues
        optic = focused_optic(camera, home)
        indices = np.stack([np.asarray(optic.surfaces.n(w)) for w in wavelengths_um])
    rows = [
        (
            float(surface.geometry.cs.z),
            float(surface.geometry.radius),
            float(getattr(surface.geometry, "k", 0.0)),
            surface.aperture.r_max if surface.aperture else math.inf,
        )
        for surface in list(optic.surfaces)[1:]
    ]
    return FocusedLens(
        surfaces=np.array(rows, dtype=np.float64),
        indices=np.ascontiguousarray(indices, dtype=np.float64),
        pupil_z_mm=float(optic.paraxial.EPL()),
        pupil_radius_mm=float(optic.paraxial.EPD()) / 2.0,
        reference_z_mm=_reference_z_mm(optic, camera),
    )


def _sample(name: str) -> Optic:
    from optiland.samples import objectives

    names = sample_names()
    if name not in names:
        raise LensError(
            "no such lens",
            got=f"camera.lens.name {name!r}",
            expected="one of " + ", ".join(names),
            todo="Set camera.lens.name to one of them.",
        )
    optic: Optic = getattr(objectives, name)()
    return optic


def require_supported(optic: Optic, name: str) -> None:
    """Refuse what the ray tracer does not do, before it traces something else."""
    from optiland.geometries import Plane, StandardGeometry
    from optiland.interactions.refractive_reflective_model import RefractiveReflectiveModel

    for i, surface in enumerate(list(optic.surfaces)[1:], start=1):
        model = surface.interaction_model
        problem = ""
        if type(surface.geometry) not in (Plane, StandardGeometry):
            problem = f"a surface of type {type(surface.geometry).__name__}"
        elif type(model) is not RefractiveReflectiveModel or model.is_reflective:
            problem = "a surface that does more than refract"
        elif not surface.is_rotationally_symmetric():
            problem = "a tilted or decentred surface"
        if problem:
            raise LensError(
                f"lens {name} cannot be traced",
                got=f"{problem} (number {i})",
                expected="centred spherical, conic or plane refracting surfaces",
                todo="Choose another camera.lens.name.",
            )


def _set_rims(optic: Optic, camera: Camera) -> None:
    """Give every surface of the focused lens a clear radius; the stop that of its on-axis beam.

    Samples come without. Rims as wide as the on-axis beam are what vignettes in lenses near their
    stop; surfaces far from it must be wider for a corner of the sensor to get any light.
    """
    from optiland.physical_apertures import RadialAperture

    beam = _marginal_heights_mm(optic, camera.focal_length_mm / camera.f_number)
    if not np.all(np.isfinite(beam)):
        passing = camera.f_number
        while not np.all(np.isfinite(beam)):
            passing *= 1.05
            beam = _marginal_heights_mm(optic, camera.focal_length_mm / passing)
        raise LensError(
            f"lens {camera.lens.name} cannot be opened this far: its marginal ray does not pass",
            got=f"camera.f_number {camera.f_number:g}",
            expected=f"at least {math.ceil(passing * 10) / 10:.1f}",
            todo="Set camera.f_number higher, or choose another camera.lens.name.",
        )
    corner = _corner_heights_mm(optic, camera) + camera.lens.corner_pupil * beam
    rims = np.maximum(camera.lens.clear_radius_factor * beam, corner)
    rims[optic.surfaces.stop_index] = beam[optic.surfaces.stop_index]
    for surface, rim in list(zip(optic.surfaces, rims, strict=True))[1:-1]:
        surface.aperture = RadialAperture(r_max=float(rim))


def _heights_mm(optic: Optic, start: tuple[float, float], slope: float) -> Float:
    """Signed heights on every surface of a ray in the y-z plane from `start` (y, z)."""
    from optiland.rays import RealRays

    norm = math.hypot(1.0, slope)
    rays = RealRays(0.0, *start, 0.0, slope / norm, 1.0 / norm, 1.0, optic.primary_wavelength)
    with np.errstate(invalid="ignore"):
        optic.surfaces.trace(rays, skip=1)
    heights: list[Any] = [0.0, *(surface.y[0] for surface in list(optic.surfaces)[1:])]
    return np.array(heights, dtype=np.float64)


def _marginal_heights_mm(optic: Optic, pupil_mm: float) -> Float:
    """Heights of the ray from far away, parallel to the axis, at the edge of the pupil."""
    return np.abs(_heights_mm(optic, (pupil_mm / 2, -pupil_mm), 0.0))


def _corner_heights_mm(optic: Optic, camera: Camera) -> Float:
    """Heights of the chief ray, at the focus distance, to the sensor's farthest corner."""
    size = np.array([camera.width_px, camera.height_px])
    centre = np.array(camera.centre_px)
    corner_px = float(np.hypot(*np.maximum(centre, size - centre)))
    corner_mm = corner_px * camera.pixel_pitch_um / 1000.0
    pupil_z = float(optic.paraxial.EPL())
    depth = pupil_z + float(optic.surfaces[0].thickness)
    slope = corner_mm / camera.focal_length_mm
    for _ in range(CHIEF_STEPS):
        heights = _heights_mm(optic, (-slope * depth, pupil_z - depth), slope)
        if abs(abs(heights[-1]) - corner_mm) < CHIEF_TOLERANCE * corner_mm:
            return np.abs(heights)
        slope *= corner_mm / abs(heights[-1])
    raise LensError(
        f"the sensor is larger than the picture of lens {camera.lens.name}",
        got=f"a corner {corner_mm:.1f} mm from the optical centre",
        todo="Make the sensor smaller (camera.width_px, camera.pixel_pitch_um) or choose another "
        "camera.lens.name.",
    )


def _reference_z_mm(optic: Optic, camera: Camera) -> float:
    """Place that the camera record's distances are measured from, from the front vertex."""
    if camera.distance_reference == "sensor":
        return float(optic.image_surface.geometry.cs.z)
    if camera.distance_reference == "entrance_pupil":
        return float(optic.paraxial.EPL())
    return 0.0


def _focus(optic: Optic, camera: Camera) -> None:
    """Move the sensor to the paraxial image of the focus distance, which may count from it."""
    for _ in range(FOCUS_STEPS):
        object_mm = 1000.0 * camera.focus_distance_m - _reference_z_mm(optic, camera)
        if object_mm <= 2.0 * camera.focal_length_mm:
            needed = (_reference_z_mm(optic, camera) + 2.0 * camera.focal_length_mm) / 1000.0
            raise LensError(
                "the lens does not focus this near",
                got=f"camera.focus_distance_m {camera.focus_distance_m:g}",
                expected=f"more than {needed:.3g} with this lens and camera.distance_reference",
                todo="Set camera.focus_distance_m farther away.",
            )
        optic.updater.set_thickness(object_mm, 0)
        before = float(optic.image_surface.geometry.cs.z)
        optic.updater.image_solve()
        if abs(float(optic.image_surface.geometry.cs.z) - before) < 1e-9 * camera.focal_length_mm:
            return
    raise LensError(
        "the focus does not settle",
        got=f"camera.focus_distance_m {camera.focus_distance_m:g}",
        todo="Set camera.focus_distance_m farther away.",
    )
