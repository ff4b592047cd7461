"""From a camera record to a focused lens for ray tracing; optiland reads prescriptions.

Importing optiland takes seconds, so it is imported inside the functions.
"""

from __future__ import annotations

import contextlib
import inspect
import io
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
FAR_MM = 1e9  # an object at least this far counts as at infinity
OTHER_LENS = "Choose another camera.lens.name."


@dataclass(frozen=True)
class FocusedLens:
    """A lens with stop, clear apertures and sensor; lengths in mm, z = 0 at the front vertex.

    Attributes:
        surfaces: `[S, 4]` vertex z, radius, conic constant, clear radius; the sensor is the last.
    """

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
                "an object is in or at the lens",
                got=f"{np.min(distance_m):.3f} m, {np.max(z):.0f} mm behind the front vertex",
                expected=f"more than {(self.reference_z_mm + self.pupil_radius_mm) / 1000:.3f} m",
                todo="Set a larger range.working_m and camera.focus_distance_m, another "
                "camera.distance_reference or another camera.lens.name.",
            )
        return z


def sample_names() -> list[str]:
    """Names of optiland's sample objectives, valid as `camera.lens.name`."""
    from optiland.optic import Optic
    from optiland.samples import objectives

    return [
        name
        for name, member in inspect.getmembers(objectives, inspect.isclass)
        if issubclass(member, Optic) and member.__module__ == objectives.__name__
    ]


def focused_optic(camera: Camera, home: Path = Path()) -> Optic:
    """The objective as optiland's object: scaled, stopped down, focused, with clear apertures.

    `camera.lens.file` is relative to `home`.

    Raises:
        LensError: If there is no such lens, or it does not fit the camera record.
    """
    if camera.lens.kind == "zemax":
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
            todo=OTHER_LENS,
        )
    optic.updater.scale_system(camera.focal_length_mm / focal_length)
    optic.set_aperture(aperture_type="EPD", value=camera.focal_length_mm / camera.f_number)
    _focus(optic, camera)
    _set_clear_apertures(optic, camera)
    return optic


def focused_lens(camera: Camera, wavelengths_um: Float, home: Path = Path()) -> FocusedLens:
    """`focused_optic` as arrays for ray tracing at `wavelengths_um` `[W]`; raises the same."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # optiland: glass names that are in two catalogues
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
    """Refuse surfaces that the ray tracer does not model.

    Raises:
        LensError: Naming the surface.
    """
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
                todo=OTHER_LENS,
            )


def _set_clear_apertures(optic: Optic, camera: Camera) -> None:
    """Set the clear aperture of every surface of the focused lens; the stop's is its on-axis beam.

    Samples come without. Near the stop, clear apertures about as wide as the on-axis beam cause the
    vignetting; far from it they must be wider for light to reach the corners of the sensor.
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
    clear = np.maximum(camera.lens.clear_radius_factor * beam, corner)
    clear[optic.surfaces.stop_index] = beam[optic.surfaces.stop_index]
    for surface, radius in list(zip(optic.surfaces, clear, strict=True))[1:-1]:
        surface.aperture = RadialAperture(r_max=float(radius))


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
    """Heights of the marginal ray of an object at infinity."""
    return np.abs(_heights_mm(optic, (pupil_mm / 2, -pupil_mm), 0.0))


def _corner_heights_mm(optic: Optic, camera: Camera) -> Float:
    """Heights of the chief ray from the focus distance to the sensor's farthest corner."""
    size, centre = np.array([camera.width_px, camera.height_px]), np.array(camera.centre_px)
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
    raise outside_image_circle(corner_mm)


def outside_image_circle(corner_mm: float) -> LensError:
    """The error for a sensor whose corner, so far from the optical centre, gets no chief ray."""
    return LensError(
        "the sensor is larger than the lens's image circle",
        got=f"a corner {corner_mm:.1f} mm from the optical centre",
        todo="Make the sensor smaller (camera.width_px, camera.pixel_pitch_um) or choose another "
        "camera.lens.name.",
    )


def _reference_z_mm(optic: Optic, camera: Camera) -> float:
    """Position that the camera record's distances are measured from."""
    if camera.distance_reference == "sensor":
        return float(optic.image_surface.geometry.cs.z)
    if camera.distance_reference == "entrance_pupil":
        return float(optic.paraxial.EPL())
    return 0.0


def _focus(optic: Optic, camera: Camera) -> None:
    """Move the sensor to the paraxial image of the focus distance (fixed point).

    The focus distance may itself be measured from the sensor.
    """
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
        "focusing does not converge",
        got=f"camera.focus_distance_m {camera.focus_distance_m:g}",
        todo="Set camera.focus_distance_m farther away.",
    )


def read_zemax(path: Path) -> Optic:
    """Read the sequential prescription of a photographic lens, a .zmx file, front element first.

    Raises:
        LensError: If it cannot be read or traced, or its object is nearer than its image.
    """
    from optiland.fileio import load_zemax_file

    if not path.is_file():
        raise LensError(f"there is no lens file {path.name}", todo="Set camera.lens.file.")
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")  # optiland warns and prints
            optic: Optic = load_zemax_file(str(path))
    except Exception as exc:  # optiland raises whatever its parser stumbles over
        raise LensError(
            f"{path.name} cannot be read as a Zemax prescription",
            got=f"{type(exc).__name__}: {exc}",
            todo="Set camera.lens.kind: thin, or measured with point sources of this lens.",
        ) from exc
    require_supported(optic, path.name)
    distance, back = (float(optic.surfaces[i].thickness) for i in (0, -2))
    if abs(distance) < min(FAR_MM, abs(back)):
        raise LensError(
            f"{path.name} is laid out the other way round: its object is nearer than its image",
            got=f"object at {distance:.4g} mm, image at {back:.4g} mm",
            expected="the front element, which faces the scene, first",
            todo="Reverse the lens in the program it comes from, or choose another.",
        )
    return optic
