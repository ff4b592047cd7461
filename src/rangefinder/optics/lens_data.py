"""A lens as its prescription describes it: its surfaces, focal length, stop and widest pupil.

Importing optiland takes seconds, so it is imported inside the functions.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from rangefinder.camera import Camera
from rangefinder.errors import LensError
from rangefinder.optics.lens_files import quiet, read_lens, unsupported
from rangefinder.optics.lens_formats import OTHER_LENS

if TYPE_CHECKING:
    from optiland.optic import Optic


Float = NDArray[np.float64]
FAR_MM = 1e9  # an object at least this far counts as at infinity
AGREEMENT = 0.02  # relative difference of focal lengths and f-numbers that is still agreement
PUPIL_STEPS = 30  # bisections of the widest pupil
TINY_MM = 1e-9
DARK = 1e-3  # of the focal length: no lens is as narrow as f/1000
# Of the focal length: a lens drawn at infinity may still be focused at 10 focal lengths.
IMAGE_SLACK = 0.1


@dataclass(frozen=True)
class LensData:
    """A lens before it is fitted to a camera record."""

    name: str  # of the sample or the file
    optic: Optic  # optiland's object; lengths in mm
    focal_length_mm: float  # traced, whatever the file says
    pupil_mm: float  # diameter of the widest entrance pupil; inf: nothing says

    @property
    def f_number(self) -> float:
        """The lowest; 0 where nothing says."""
        return self.focal_length_mm / self.pupil_mm

    @property
    def surfaces(self) -> int:
        """Number of surfaces between object and image."""
        return len(list(self.optic.surfaces)) - 2

    @property
    def aspheres(self) -> int:
        """Number of aspheric surfaces."""
        return sum(bool(powers(surface.geometry)) for surface in self.optic.surfaces)


@quiet()
def lens_data(camera: Camera, home: Path = Path()) -> LensData:
    """The lens that a camera record names; `camera.lens.file` is relative to `home`.

    Raises:
        LensError: If there is no such lens, or it cannot be traced.
    """
    if camera.lens.kind != "zemax":
        name, optic = camera.lens.name, _sample(camera.lens.name)
        require_supported(optic, name)
        return LensData(name, optic, _focal_length_mm(optic, name), math.inf)
    path = home / str(camera.lens.file)
    name, optic = path.name, read_lens(path, camera.lens.glasses)
    require_supported(optic, name)
    _require_front_first(optic, name)
    focal_length = _focal_length_mm(optic, name)
    _require_own_image(optic, focal_length, name)
    return LensData(name, optic, focal_length, _widest_pupil_mm(optic, focal_length, name))


def sample_names() -> list[str]:
    """Names of optiland's sample objectives, valid as `camera.lens.name`."""
    from optiland.optic import Optic
    from optiland.samples import objectives

    return [
        name
        for name, member in inspect.getmembers(objectives, inspect.isclass)
        if issubclass(member, Optic) and member.__module__ == objectives.__name__
    ]


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
    for i, surface in enumerate(list(optic.surfaces)[1:], start=1):
        problem = _problem(surface)
        if problem:
            raise unsupported(name, problem, i)


def _problem(surface: Any) -> str:
    """What the ray tracer does not model in a surface, in words."""
    from optiland.geometries import EvenAsphere, OddAsphere, Plane, StandardGeometry
    from optiland.interactions.refractive_reflective_model import RefractiveReflectiveModel
    from optiland.physical_apertures import RadialAperture

    model, aperture = surface.interaction_model, surface.aperture
    if type(surface.geometry) not in (Plane, StandardGeometry, EvenAsphere, OddAsphere):
        return f"a surface of type {type(surface.geometry).__name__}"
    if type(model) is not RefractiveReflectiveModel or model.is_reflective:
        return "a surface that does more than refract"
    if not surface.is_rotationally_symmetric():
        return "a tilted or decentred surface"
    if any(powers(surface.geometry)[:1]):
        return "a cone: an asphere with a term of first order"
    if aperture is not None and (type(aperture) is not RadialAperture or aperture.r_min > 0.0):
        return "an aperture that is no centred circle"
    return ""


def powers(geometry: Any) -> list[float]:
    """Coefficients of r, r^2, ... that an asphere adds to its conic; none if they are all 0."""
    coefficients = [float(value) for value in getattr(geometry, "coefficients", ())]
    if not any(coefficients):
        return []
    if type(geometry).__name__ == "OddAsphere":
        return coefficients
    return [value for even in coefficients for value in (0.0, even)]


@contextmanager
def paraxial_rays(optic: Optic) -> Iterator[Any]:
    """Paraxial rays of optiland, for which aspheres have the radius at their vertex meanwhile.

    Left alone, these rays know the radius of the conic only, without the second-order term.
    """
    changed = []
    for surface in optic.surfaces:
        second = [*powers(surface.geometry), 0.0, 0.0][1]
        if second != 0.0:
            radius = surface.geometry.radius
            changed.append((surface.geometry, radius))
            surface.geometry.radius = 1.0 / (1.0 / radius + 2.0 * second)
    try:
        yield optic.paraxial
    finally:
        for geometry, radius in changed:
            geometry.radius = radius


def ray_heights_mm(optic: Optic, start: tuple[float, float], slope: float) -> Float:
    """Signed heights on every surface of a ray in the y-z plane from `start` (y, z)."""
    from optiland.rays import RealRays

    norm = math.hypot(1.0, slope)
    rays = RealRays(0.0, *start, 0.0, slope / norm, 1.0 / norm, 1.0, optic.primary_wavelength)
    with np.errstate(invalid="ignore"):
        optic.surfaces.trace(rays, skip=1)
    heights: list[Any] = [0.0, *(surface.y[0] for surface in list(optic.surfaces)[1:])]
    return np.array(heights, dtype=np.float64)


def marginal_heights_mm(optic: Optic, pupil_mm: float) -> Float:
    """Heights of the marginal ray of an object at infinity."""
    return np.abs(ray_heights_mm(optic, (pupil_mm / 2, -pupil_mm), 0.0))


def _focal_length_mm(optic: Optic, name: str) -> float:
    with paraxial_rays(optic) as paraxial:
        focal_length = float(paraxial.f2())
    if not (math.isfinite(focal_length) and focal_length > 0.0):
        raise LensError(
            f"{name} makes no image",
            got=f"focal length {focal_length:.4g}",
            expected="a finite, positive one",
            todo=OTHER_LENS,
        )
    return focal_length


def _require_front_first(optic: Optic, name: str) -> None:
    """Refuse lenses whose object is nearer than their image."""
    z = _vertices_mm(optic)
    distance, back = z[1] - z[0], z[-1] - z[-2]
    if abs(distance) < min(FAR_MM, abs(back)):
        raise LensError(
            f"{name} is laid out the other way round: its object is nearer than its image",
            got=f"object at {distance:.4g} mm, image at {back:.4g} mm",
            expected="the front element, which faces the scene, first",
            todo=f"Reverse the lens in the program it comes from. {OTHER_LENS}",
        )


def _vertices_mm(optic: Optic) -> list[float]:
    return [float(surface.geometry.cs.z) for surface in optic.surfaces]


def _require_own_image(optic: Optic, focal_length_mm: float, name: str) -> None:
    """Refuse a lens that does not focus where its file has the image: one for another lens."""
    z = _vertices_mm(optic)
    glass = (
        int(np.flatnonzero(np.diff(np.ravel(optic.surfaces.n(optic.primary_wavelength))))[-1]) + 1
    )
    last = max([glass, *(i for i, surface in enumerate(optic.surfaces) if surface.is_stop)])
    if math.isfinite(z[0]) or z[-1] == z[last]:  # an object that is not far away, or no image
        return
    back = z[-1] - z[glass]
    with paraxial_rays(optic) as paraxial:
        focus = back + float(paraxial.F2())
    if abs(focus - back) > IMAGE_SLACK * focal_length_mm:
        raise LensError(
            f"{name} does not focus where it says that its image is",
            got=f"a focus {focus:.2f} mm behind the last glass",
            expected=f"{back:.2f} mm",
            todo="It may be an attachment: give the whole lens. If not, correct its glasses and "
            f"distances. {OTHER_LENS}",
        )


def _widest_pupil_mm(optic: Optic, focal_length_mm: float, name: str) -> float:
    """Diameter of the widest pupil that the file's aperture and clear diameters let through.

    A lens without a stop gets it where the beam on the axis is limited. The clear diameter of a
    stop counts only where the file states no aperture: it may be that of a diaphragm closed down.

    Raises:
        LensError: If nothing says where the beam is limited.
    """
    clear = np.array([s.aperture.r_max if s.aperture else math.inf for s in optic.surfaces])
    clear[-1] = math.inf
    stops = [i for i, surface in enumerate(optic.surfaces) if surface.is_stop]
    stated = _stated_pupil_mm(optic, focal_length_mm)
    if stops and math.isfinite(stated):
        clear[stops] = math.inf
    limited = bool(np.any(np.isfinite(clear)))
    if not (limited or stops):
        raise LensError(
            f"{name} does not say where its beam is limited",
            got="neither a stop nor clear diameters",
            todo=f"Mark its aperture stop in the program it comes from. {OTHER_LENS}",
        )
    if not limited and math.isinf(stated):
        return math.inf
    pupil = _passing_pupil_mm(optic, clear, 2.0 * focal_length_mm)
    if min(pupil, stated) < DARK * focal_length_mm:
        raise LensError(
            f"{name} lets no light through",
            got=f"a beam on the axis of {min(pupil, stated):.3g} mm",
            todo=f"Correct its clear diameters and its aperture. {OTHER_LENS}",
        )
    if not stops:
        beam = marginal_heights_mm(optic, pupil)
        optic.surfaces.stop_index = int(np.argmin((clear / np.maximum(beam, TINY_MM))[1:-1])) + 1
    return min(pupil, stated)


def _stated_pupil_mm(optic: Optic, focal_length_mm: float) -> float:
    """Diameter of the entrance pupil by the aperture that the file states; inf: none."""
    if optic.aperture is None:
        return math.inf
    value = float(optic.aperture.value)
    if optic.aperture.ap_type == "EPD":
        return value
    return focal_length_mm / value if optic.aperture.ap_type == "imageFNO" else math.inf


def _passing_pupil_mm(optic: Optic, clear_mm: Float, most_mm: float) -> float:
    """Diameter of the widest pupil, up to `most_mm`, whose beam on the axis passes."""
    low, high = 0.0, most_mm
    for _ in range(PUPIL_STEPS):
        middle = 0.5 * (low + high)
        beam = marginal_heights_mm(optic, middle)
        passes = bool(np.all(np.isfinite(beam)) and np.all(beam <= clear_mm))
        low, high = (middle, high) if passes else (low, middle)
    return low
