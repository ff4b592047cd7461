"""Where a camera's point spread functions come from: ray tracing, a thin lens, or measurements."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from rangefinder.camera import Camera
from rangefinder.common.files import png_samples
from rangefinder.config import BankParams, CameraParams, Interval
from rangefinder.errors import LensError
from rangefinder.optics.blur import from_lens_m, image_distance_m, require_room
from rangefinder.optics.calibrated_lens import calibrated_kernels
from rangefinder.optics.psf_tracing import (
    GREEN,
    MAX_LOST_LIGHT,
    FieldPoints,
    Sampling,
    kernel_side_px,
    kernel_too_small,
    larger_kernel,
    trace_kernels,
)
from rangefinder.optics.srgb import srgb_curve

Float = NDArray[np.float64]
Kernels = tuple[NDArray[np.float32], Float]  # see `lens_kernels`
F_LINE_UM, C_LINE_UM = 0.4861327, 0.6562725  # of hydrogen
MIDWAY = (F_LINE_UM**-2 + C_LINE_UM**-2) / 2  # between them [1 / um^2]
POINT_SOURCE_NAME = re.compile(r"psf_(\d+(?:\.\d+)?)m_x(\d+(?:\.\d+)?)_y(\d+(?:\.\d+)?)")
POINT_SOURCE_SUFFIXES = (".png", ".tif", ".tiff")
BACKGROUND_QUANTILE = 0.2  # of a crop's border
NEIGHBOURS = 3  # point sources that a field node is interpolated from
MIN_DISTANCES = 3  # of point sources
FROM_FILES = ("zemax", "measured", "calibrated")  # kinds of lenses
RANGE_SLACK = 1e-3  # relative, beyond the measured distances


def camera_record(params: CameraParams, home: Path) -> Camera:
    """The record of a camera, with the hash of its lens file's content (`home` / `lens.file`).

    Raises:
        LensError: If the lens file is missing.
    """
    if params.lens.file is None or params.lens.kind not in FROM_FILES:
        return Camera.from_params(params)
    lens = params.lens.model_copy(update={"sha256": _digest(home / params.lens.file)})
    return Camera.from_params(params.model_copy(update={"lens": lens}))


def _digest(path: Path) -> str:
    """Hash of a file, or of all files of a folder and their names."""
    digest = hashlib.sha256()
    try:
        path.stat()
        files = sorted(path.iterdir()) if path.is_dir() else [path]
        for file in files:
            if file.is_file():
                digest.update(file.name.encode() if path.is_dir() else b"")
                digest.update(file.read_bytes())
    except OSError as exc:
        raise LensError(
            f"camera.lens.file cannot be read ({exc})", todo="Name it from the project's folder."
        ) from exc
    return digest.hexdigest()[:16]


def lens_kernels(
    camera: Camera,
    params: BankParams,
    distances_m: Float,
    field: FieldPoints,
    home: Path,
    stop_f_number: float | None = None,
) -> Kernels:
    """Kernels and light of one quadrant of the field, from whatever is known of the lens.

    Args:
        camera: The camera record; `lens.kind` is their source.
        params: Bank parameters.
        distances_m: `[D]` distances, far to near.
        field: `P` points on the sensor.
        home: Folder that `lens.file` is relative to.
        stop_f_number: f-number that the lens is stopped down to; None: the record's.

    Returns:
        Kernels `[D, P, 3, k, k]`, each of sum 1, and flux `[D, P]` relative to the axis.

    Raises:
        LensError: If nothing is known of the lens, or what is known does not suffice.
    """
    if camera.lens.kind == "thin":
        camera = camera.model_copy(update={"f_number": stop_f_number or camera.f_number})
        return _thin_kernels(camera, params, distances_m, field)
    if camera.lens.kind == "calibrated":
        path = home / str(camera.lens.file)
        return calibrated_kernels(path, camera, params, distances_m, field, stop_f_number)
    if stop_f_number is not None and camera.lens.kind in ("measured", "none"):
        raise LensError(
            "this lens cannot be stopped down",
            got=f"camera.lens.kind {camera.lens.kind}",
            expected="calibrated, thin, zemax or optiland_sample",
        )
    if camera.lens.kind == "measured":
        folder = home / str(camera.lens.file)
        return _measured_kernels(folder, camera, params, distances_m, field)
    if camera.lens.kind == "none":
        raise LensError(
            "nothing is known of the lens, so nothing can be simulated",
            got="camera.lens.kind none",
            todo="Set it to thin, zemax, measured or calibrated, or captures.source: files without "
            "rgbd rows.",
        )
    from rangefinder.optics.prescription import focused_lens

    wavelengths_um = np.asarray(params.spectrum.wavelengths_um)
    lens = focused_lens(camera, wavelengths_um, home, stop_f_number)
    return trace_kernels(lens, camera, params, distances_m, field)


def _thin_kernels(
    camera: Camera, params: BankParams, distances_m: Float, field: FieldPoints
) -> Kernels:
    """Kernels of a thin lens with axial colour and spherical aberration; cos^4 illumination.

    Raises:
        LensError: If the lens does not focus this near, or its blur is larger than a kernel.
    """
    sampling = Sampling.of(camera, params)
    object_mm, image_mm = _conjugates_mm(camera, distances_m)
    planes = [_thin_kernel(camera, sampling, u, image_mm) for u in object_mm]
    if (lost := max(lost for _, lost in planes)) > MAX_LOST_LIGHT:
        needed = _kernel_px(camera, params, object_mm, image_mm)
        raise kernel_too_small(lost, params, larger_kernel(camera, needed))
    kernels = np.stack([plane for plane, _ in planes])
    angle = np.arctan(field.radii_px * camera.pixel_pitch_um / 1000 / image_mm)
    flux = (np.cos(angle) ** 4)[field.point_radius]
    points = field.point_radius.size
    every = np.broadcast_to(kernels[:, None], (len(kernels), points, *kernels.shape[1:]))
    return every.astype(np.float32), np.broadcast_to(flux, (len(kernels), points)).copy()


def _conjugates_mm(camera: Camera, distances_m: Float) -> tuple[Float, float]:
    """Distances of objects from the lens `[D]`, and of the sensor from the lens [mm].

    Raises:
        LensError: If the focus distance or an object is too near.
    """
    require_room(camera, distances_m)
    objects = 1000 * from_lens_m(camera, distances_m)
    return objects, 1000 * image_distance_m(camera)


def _thin_kernel(
    camera: Camera, sampling: Sampling, object_mm: float, image_mm: float
) -> tuple[Float, float]:
    """Kernels of the colours `[3, k, k]` of a point on the axis, and the share of lost light."""
    wavelengths = sampling.params.spectrum.wavelengths_um
    spectral = np.zeros((len(wavelengths), *(sampling.response.shape[1],) * 2))
    for wavelength, histogram in zip(wavelengths, spectral, strict=True):
        _splat_thin(camera, sampling, (object_mm, image_mm, wavelength), histogram)
    cells = np.tensordot(sampling.shares, spectral, axes=1)
    kernels = sampling.response @ cells @ sampling.response.T
    kept = kernels.sum(axis=(1, 2), keepdims=True)
    return np.asarray(kernels / kept), 1 - float(kept.min())


def thin_kernel_px(camera: Camera, params: BankParams, range_m: Interval) -> int:
    """Side of the kernels [px, odd] that hold the blur of a thin lens over a range [m].

    Raises:
        LensError: If the lens does not focus this near.
    """
    return _kernel_px(camera, params, *_conjugates_mm(camera, np.asarray(range_m)))


def _kernel_px(
    camera: Camera, params: BankParams, objects_mm: Iterable[float], image_mm: float
) -> int:
    radius2 = np.linspace(0, 1, 65)
    heights_mm = [
        np.sqrt(radius2) * _ray_height_mm(camera, (object_mm, image_mm, wavelength), radius2)
        for object_mm in objects_mm
        for wavelength in params.spectrum.wavelengths_um
    ]
    reach_px = 1000 * float(np.abs(heights_mm).max()) / camera.pixel_pitch_um
    return kernel_side_px(reach_px, params)


def _splat_thin(
    camera: Camera, sampling: Sampling, point: tuple[float, float, float], cells: Float
) -> None:
    """Histogram the rays of a point (object distance, image distance [mm], wavelength [um])."""
    from rangefinder.optics.ray_tracing import splat

    samples = sampling.params.pupil_samples
    grid = (np.arange(samples) + 0.5) / samples * 2 - 1
    x, y = np.meshgrid(grid, grid[samples // 2 :])
    radius2 = x**2 + y**2
    spread_mm = _ray_height_mm(camera, point, radius2)
    landing = np.stack([x * spread_mm, y * spread_mm, (radius2 <= 1).astype(np.float64)], axis=1)
    # `splat` mirrors every ray; the middle row of an odd grid would count twice.
    landing[0, 2] *= 0.5 if samples % 2 else 1.0
    landing[:, 2] /= 2 * landing[:, 2].sum()
    splat(landing, 0.0, sampling.cells_per_mm, (1.0, 0.0), cells)


def _ray_height_mm(camera: Camera, point: tuple[float, float, float], radius2: Float) -> Float:
    """Height on the sensor of rays through the pupil, per unit of pupil radius [mm]."""
    object_mm, image_mm, wavelength = point
    focal = camera.focal_length_mm
    pupil_mm = focal / camera.f_number / 2
    colour = _chromatic_shift(camera, wavelength)
    zone = camera.lens.spherical * (radius2 - 0.5)  # 0 at the zone that focus is set for
    power = 1 / (focal * (1 + colour + zone))
    return np.asarray(pupil_mm * (1 - image_mm * (power - 1 / object_mm)))


def _chromatic_shift(camera: Camera, wavelength_um: float) -> float:
    """Change of focal length / focal length against that midway between the F and C lines.

    Dispersion is linear in 1 / wavelength^2 to first order (Cauchy). An achromat cancels that order
    for a pair of wavelengths; what is left is quadratic: its secondary spectrum, the same way for
    red and for blue.
    """
    place = (MIDWAY - wavelength_um**-2) / (F_LINE_UM**-2 - MIDWAY)  # -1 at F, 1 at C
    lens = camera.lens
    return lens.axial_colour / 2 * place + lens.secondary_spectrum * place**2


@dataclass(frozen=True)
class PointSource:
    """One measured PSF: distance, place on the sensor, kernel `[3, k, k]` of sum 1 per colour."""

    distance_m: float
    x_px: float
    y_px: float
    kernel: Float
    light: float


def _measured_kernels(
    folder: Path, camera: Camera, params: BankParams, distances_m: Float, field: FieldPoints
) -> Kernels:
    """Kernels interpolated from measured point sources.

    Linear in dioptres; in the field by inverse distance weighting (Shepard, 1968), the lens taken
    as symmetric about both axes.

    Raises:
        LensError: If there are too few crops in `folder`, or none so near or so far.
    """
    sources = _read_point_sources(folder, params.kernel_px)
    measured = np.array(sorted({source.distance_m for source in sources}))
    _require_range(measured, distances_m)
    nodes = field.radii_px[field.point_radius][:, None] * np.stack(
        [np.cos(field.point_angle), np.sin(field.point_angle)], axis=1
    )
    planes = [_measured_plane(sources, distance, camera, nodes) for distance in measured]
    kernels = np.stack([plane[0] for plane in planes])
    light = np.stack([plane[1] for plane in planes])
    order = np.argsort(1 / measured)
    place = np.interp(1 / distances_m, (1 / measured)[order], order)
    before = np.minimum(place.astype(np.int64), len(measured) - 2)
    weight = (place - before)[:, None]
    mixed_light = light[before] * (1 - weight) + light[before + 1] * weight
    weight = weight[..., None, None, None]
    mixed = kernels[before] * (1 - weight) + kernels[before + 1] * weight
    axis = int(np.argmin(field.point_radius))
    return mixed.astype(np.float32), mixed_light / mixed_light[:, axis : axis + 1]


def _read_point_sources(folder: Path, kernel_px: int) -> list[PointSource]:
    """Read every crop of a folder.

    Raises:
        LensError: If there are too few, or one shows no point source.
    """
    found = []
    for path in sorted(folder.glob("*")):
        match = POINT_SOURCE_NAME.fullmatch(path.stem)
        if match and path.suffix.lower() in POINT_SOURCE_SUFFIXES:
            distance, x, y = (float(number) for number in match.groups())
            found.append(PointSource(distance, x, y, *_measure(path, kernel_px)))
    distances = {source.distance_m for source in found}
    if len(distances) < MIN_DISTANCES:
        raise LensError(
            f"{folder.name} holds too few point sources",
            got=f"{len(found)} crops at {len(distances)} distances",
            expected=f"psf_1.25m_x240_y180.png and so on, at {MIN_DISTANCES} distances or more",
        )
    return found


def _measure(path: Path, kernel_px: int) -> tuple[Float, float]:
    """Kernel `[3, k, k]`, centred on the green centroid, and green light of a crop."""
    from scipy import ndimage

    pixels = _read_crop(path)
    edges = [pixels[:, 0], pixels[:, -1], pixels[:, :, 0], pixels[:, :, -1]]
    level = np.quantile(np.concatenate(edges, axis=1), BACKGROUND_QUANTILE, axis=1)
    light = (pixels - level[:, None, None]).clip(min=0)
    total = light.sum(axis=(1, 2))
    if np.any(total <= 0) or pixels.max() >= 1.0:
        raise LensError(
            f"{path.name} shows no point source that could be measured",
            got="a burnt-out crop" if pixels.max() >= 1.0 else "an even grey",
            todo="Take it again with another exposure.",
        )
    rows, cols = ndimage.center_of_mass(light[GREEN])
    centre = (kernel_px - 1) / 2
    grid = np.mgrid[:kernel_px, :kernel_px].astype(np.float64)
    at = [grid[0] + rows - centre, grid[1] + cols - centre]
    kernel = np.stack([ndimage.map_coordinates(x, at, order=1).clip(min=0) for x in light])
    for colour in kernel:
        colour /= max(colour.sum(), 1e-12)
    return kernel, float(total[GREEN])


def _read_crop(path: Path) -> Float:
    """Linear light `[3, H, W]` of a crop: 16 bits as they are, 8 bits from sRGB."""
    try:
        if path.suffix.lower() == ".png":
            pixels = png_samples(path)
        else:
            import tifffile

            pixels = np.asarray(tifffile.imread(path))
    except (OSError, ValueError, RuntimeError) as exc:  # the last by imagecodecs
        raise LensError(f"{path.name} cannot be read ({exc})") from exc
    values: NDArray[np.floating] = pixels.astype(np.float64)
    values = values / (2 ** (8 * pixels.dtype.itemsize) - 1) if pixels.dtype.kind == "u" else values
    if pixels.dtype == np.uint8:
        values = srgb_curve(values)
    if values.ndim == 2:
        values = np.repeat(values[..., None], 3, axis=2)
    return np.asarray(values[..., :3].transpose(2, 0, 1))


def _require_range(measured_m: Float, wanted_m: Float) -> None:
    near, far = float(measured_m.min()), float(measured_m.max())
    if wanted_m.min() < near * (1 - RANGE_SLACK) or wanted_m.max() > far * (1 + RANGE_SLACK):
        raise LensError(
            "no point sources were measured so near or so far",
            got=f"{near:g} to {far:g} m",
            expected=f"{wanted_m.min():.4g} to {wanted_m.max():.4g} m (range.working_m)",
            todo="Measure more, or narrow range.working_m.",
        )


def _measured_plane(
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
