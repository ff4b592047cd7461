"""A parametric model of a lens's blur: thin lens, field curvature, aberrations, vignetting.

A ray through the pupil at p (unit: the pupil's radius at the camera record's f-number) lands, in
the picture, away from the image of its point by the transverse aberrations of third order (Welford,
Aberrations of Optical Systems, 1986):

    A/2 [(defocus + curvature h^2 + spherical (p^2 - 1/2)) p + coma h (2 px^2 + p^2, 2 px py)]

where A is the blur of one dioptre of defocus [px], h the distance from the optical centre in half
diagonals, and x points away from that centre. Field curvature differs along x (tangential) and
across it (sagittal), and has a second order in h^2. Vignetting: two clear apertures, before and
behind the stop, whose images in the pupil move apart with h. A smaller stop passes the inner part
of the same pupil.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from rangefinder.camera import Camera
from rangefinder.common.compute import compiled
from rangefinder.optics.blur import blur_px_per_dpt, from_lens_m, nearest_focus_m

Float = NDArray[np.float64]
RED, GREEN, BLUE = 0, 1, 2
GOLDEN_ANGLE = np.pi * (3 - 5**0.5)
FINE_RAYS = 20000  # of half a pupil, of a kernel that is kept
FIT_RAYS = 1500  # of half a pupil, of a kernel that is compared with photos
CLIPPING_EDGE = 0.03  # width of the edge of a clear aperture [pupil radii]: rays are few
RECORD_ERROR = 0.05  # relative sd of the f-number as records state it
FOCUS_ERROR = 0.1  # of the focus distance: scales are coarse, spherical aberration moves the best


@dataclass(frozen=True)
class LensShape:
    """Parameters of the model; dioptres of focus are positive towards the camera."""

    f_number: float
    focus_dpt: float  # inverse focus distance in the record's terms [1/m]
    distance_offset_m: float = 0.0  # see the camera record
    red_dpt: float = 0.0  # focus of red relative to green [1/m]
    blue_dpt: float = 0.0  # of blue
    tangential_dpt: float = 0.0  # focus at h = 1 relative to the axis, of rays along the radius
    tangential4_dpt: float = 0.0  # part of it that grows with h^4
    sagittal_dpt: float = 0.0  # of rays across the radius
    sagittal4_dpt: float = 0.0
    spherical_dpt: float = 0.0  # from the centre of the pupil to its edge
    coma_dpt: float = 0.0  # at h = 1
    front_shift: float = 0.3  # of the clear aperture before the stop, at h = 1 [pupil radii]
    rear_shift: float = 0.3  # of that behind it, the other way
    front_radius: float = 1.05  # of these apertures [pupil radii]
    rear_radius: float = 1.05
    red_px: float = 0.0  # lateral colour at h = 1, of red relative to green [px]
    blue_px: float = 0.0  # of blue

    @classmethod
    def of(cls, camera: Camera) -> LensShape:
        """The thin lens of a camera record, with moderate vignetting: without, none is found."""
        return cls(camera.f_number, 1 / camera.focus_distance_m, camera.distance_offset_m)

    @property
    def focus_distance_m(self) -> float:
        """Focus distance in the record's terms [m]."""
        return 1 / self.focus_dpt

    def camera(self, camera: Camera) -> Camera:
        """The camera record with these focus, f-number and offset."""
        change = {
            "f_number": self.f_number,
            "focus_distance_m": self.focus_distance_m,
            "distance_offset_m": self.distance_offset_m,
        }
        return camera.model_copy(update=change)


def prior_sd(camera: Camera) -> LensShape:
    """Standard deviation of every parameter around the thin lens of a camera record.

    Aberrations of a usable lens are some pixels of blur; the zero of distances is wrong by up to
    the length of the lens.
    """
    px = 1 / blur_px_per_dpt(camera)  # dioptres of a pixel of blur
    focus_dpt = 1 / camera.focus_distance_m
    return LensShape(
        f_number=RECORD_ERROR * camera.f_number,
        focus_dpt=FOCUS_ERROR * focus_dpt,
        distance_offset_m=camera.focal_length_mm / 1000 / 2,
        red_dpt=px,
        blue_dpt=px,
        tangential_dpt=4 * px,
        tangential4_dpt=4 * px,
        sagittal_dpt=4 * px,
        sagittal4_dpt=4 * px,
        spherical_dpt=2 * px,
        coma_dpt=px,
        front_shift=0.5,
        rear_shift=0.5,
        front_radius=0.1,
        rear_radius=0.1,
        red_px=1.0,
        blue_px=1.0,
    )


NAMES = tuple(field.name for field in fields(LensShape))
OF_COLOUR = {"red_dpt": RED, "red_px": RED, "blue_dpt": BLUE, "blue_px": BLUE}  # all else: of all


@dataclass(frozen=True)
class Points:
    """Object points and the colours they are seen in, `[N]` each."""

    distance_m: Float  # in the record's terms [m]
    radius: Float  # of the image from the optical centre [half diagonals]
    angle: Float  # of the image around it, from x (right) to y (down) [rad]
    colour: NDArray[np.int64]  # 0 red, 1 green, 2 blue


@dataclass(frozen=True)
class LensModel:
    """Kernels of a camera whose lens has a shape."""

    record: Camera  # geometry: focal length, pixels, what distances refer to
    shape: LensShape  # fitted parameters

    def with_values(self, values: Mapping[str, float]) -> LensModel:
        """The model with other values of some parameters."""
        return replace(self, shape=replace(self.shape, **values))

    @cached_property
    def camera(self) -> Camera:
        """The record with fitted focus, f-number and offset."""
        return self.shape.camera(self.record)

    @property
    def px_per_dpt(self) -> float:
        """Blur diameter of a dioptre of defocus [px]."""
        return blur_px_per_dpt(self.camera)

    def defocus_dpt(self, distance_m: Float) -> Float:
        """Defocus of points on the axis, in green [1/m]; positive nearer than the focus."""
        camera = self.camera
        focus_m = max(camera.focus_distance_m, 1.001 * nearest_focus_m(camera))
        return np.asarray(1 / from_lens_m(camera, distance_m) - 1 / from_lens_m(camera, focus_m))

    def blur_px(self, distance_m: Float) -> Float:
        """Signed blur diameter of points on the axis [px]; positive nearer than the focus."""
        return np.asarray(self.px_per_dpt * self.defocus_dpt(distance_m))

    def kernels(
        self, points: Points, response: Float, stop: float | Float = 1.0, rays: int = FINE_RAYS
    ) -> tuple[Float, Float]:
        """Kernels `[N, k, k]` around the green centroid, and light `[N]`.

        Args:
            points: Where, and in which colours.
            response: `[k, k * s]` histogram cells to pixels (`psf_tracing.Sampling.response`).
            stop: Radius of the stop, `[N]` or for all [pupil radii].
            rays: Traced through half of the pupil.

        Returns:
            Kernels, whose sum is 1 where no light falls beside them; the light that passes the
            pupil, relative to all of a pupil of radius 1.
        """
        numbers = np.arange(rays) + 0.5  # sunflower: even in area (Vogel, 1979)
        radius, angle = np.sqrt(numbers / rays), numbers * GOLDEN_ANGLE
        pupil = np.stack([radius * np.cos(angle), np.abs(radius * np.sin(angle))], axis=1)
        rows = self._aberrations(points, np.broadcast_to(stop, points.radius.shape))
        side = response.shape[1]
        cells_per_px = side / response.shape[0]
        cells = np.zeros((len(rows), side, side))
        light = np.zeros(len(rows))
        splat_pupil(pupil, rows, cells_per_px, CLIPPING_EDGE, cells, light)
        return response @ cells @ response.T, light

    def _aberrations(self, points: Points, stop: Float) -> Float:
        """What `splat_pupil` takes of every point."""
        shape, half = self.shape, self.px_per_dpt / 2
        h2 = points.radius**2
        focus = np.array([shape.red_dpt, 0.0, shape.blue_dpt])[points.colour]
        lateral = np.array([shape.red_px, 0.0, shape.blue_px])[points.colour] * points.radius
        green = self.defocus_dpt(points.distance_m)
        tangential = shape.tangential_dpt * h2 + shape.tangential4_dpt * h2**2
        sagittal = shape.sagittal_dpt * h2 + shape.sagittal4_dpt * h2**2
        columns = (
            half * (green - focus - tangential),
            half * (green - focus - sagittal),
            half * (green - tangential),
            np.full_like(h2, half * shape.spherical_dpt),
            half * shape.coma_dpt * points.radius,
            stop,
            shape.front_shift * points.radius,
            -shape.rear_shift * points.radius,
            np.full_like(h2, shape.front_radius),
            np.full_like(h2, shape.rear_radius),
            np.cos(points.angle),
            np.sin(points.angle),
            lateral,
        )
        return np.ascontiguousarray(np.stack(columns, axis=1))

    def as_dict(self) -> dict[str, float]:
        """The parameters by name."""
        return asdict(self.shape)


@compiled
def splat_pupil(
    pupil: Float, rows: Float, cells_per_px: float, edge: float, cells: Float, light: Float
) -> None:
    """Histogram the rays of object points around their green centroid.

    Args:
        pupil: `[M, 2]` rays of the upper half of a unit pupil, even in area.
        rows: `[N, 13]` of each point: tangential, sagittal and green tangential defocus, spherical
            aberration, coma [px at the edge of the pupil]; radius of the stop, shifts of the front
            and rear apertures, their radii [pupil radii]; cosine and sine of the field angle;
            lateral colour [px].
        cells_per_px: Cells per pixel.
        edge: Width of the edge of a clear aperture [pupil radii].
        cells: `[N, C, C]`, filled: of sum 1 if no ray lands outside.
        light: `[N]`, filled with the area of the open pupil / pi.
    """
    rays = np.empty((pupil.shape[0], 3))
    for n in range(rows.shape[0]):
        total = _land(pupil, rows[n], edge, rays)
        stop, cosine, sine = rows[n, 5], rows[n, 10], rows[n, 11]
        light[n] = total / pupil.shape[0] * stop * stop
        for i in range(rays.shape[0] if total > 0.0 else 0):
            along, part = rays[i, 0] * cells_per_px, rays[i, 2] / (2.0 * total)
            for across in (rays[i, 1] * cells_per_px, -rays[i, 1] * cells_per_px):
                col, row = along * cosine - across * sine, along * sine + across * cosine
                _add_bilinear(part, row, col, cells[n])


@compiled
def _land(pupil: Float, row: Float, edge: float, rays: Float) -> float:
    """Where the rays of one point land.

    Args:
        pupil: See `splat_pupil`.
        row: `[13]`, see `splat_pupil`.
        edge: See `splat_pupil`.
        rays: `[M, 3]`, filled: along and across the field from the green centroid [px], weight.

    Returns:
        Sum of the weights.
    """
    stop, total, centre = row[5], 0.0, 0.0
    for i in range(pupil.shape[0]):
        x, y = stop * pupil[i, 0], stop * pupil[i, 1]
        weight = 1.0
        for shift, clear in ((row[6], row[8]), (row[7], row[9])):
            inside = (clear - np.sqrt((x - shift) ** 2 + y * y)) / edge + 0.5
            weight *= min(max(inside, 0.0), 1.0)
        square = x * x + y * y
        zone, comatic = row[3] * (square - 0.5), row[4] * (2.0 * x * x + square)
        rays[i, 0] = (row[0] + zone) * x + comatic + row[12]
        rays[i, 1] = (row[1] + zone) * y + row[4] * 2.0 * x * y
        rays[i, 2] = weight
        total += weight
        centre += weight * ((row[2] + zone) * x + comatic)
    if total > 0.0:
        rays[:, 0] -= centre / total
    return total


@compiled
def _add_bilinear(part: float, row: float, col: float, cells: Float) -> None:
    """Add a ray at a place from the middle of a histogram [cells], over four cells."""
    side = cells.shape[0]
    y, x = row + 0.5 * (side - 1), col + 0.5 * (side - 1)
    if part > 0.0 and 0.0 <= y < side - 1 and 0.0 <= x < side - 1:
        j, k = int(y), int(x)
        fy, fx = y - j, x - k
        cells[j, k] += part * (1.0 - fy) * (1.0 - fx)
        cells[j, k + 1] += part * (1.0 - fy) * fx
        cells[j + 1, k] += part * fy * (1.0 - fx)
        cells[j + 1, k + 1] += part * fy * fx
