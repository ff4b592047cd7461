"""Kernels traced through a lens, against optiland, thin-lens geometry and symmetry."""

from __future__ import annotations

import math
import re
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from scipy.ndimage import gaussian_filter

from rangefinder.camera import Camera
from rangefinder.config import BankParams, CameraParams
from rangefinder.errors import LensError
from rangefinder.optics.prescription import FocusedLens, focused_lens, focused_optic
from rangefinder.optics.psf_bank import build_bank
from rangefinder.optics.ray_tracing import object_heights_mm

from .conftest import CAMERA, COARSE, WORKING_M

README = Path(__file__).parents[2] / "README.md"


def _moments(kernel: np.ndarray) -> tuple[float, float, float]:
    """Centroid x, y and mean squared radius about it [px]."""
    axis = np.arange(kernel.shape[-1]) - kernel.shape[-1] // 2
    x, y = (kernel * axis).sum(), (kernel * axis[:, None]).sum()
    return x, y, (kernel * ((axis - x) ** 2 + (axis[:, None] - y) ** 2)).sum()


def test_kernels_are_nonnegative_and_sum_to_one(bank):
    assert (bank.kernels >= 0).all()
    torch.testing.assert_close(
        bank.kernels.sum((-1, -2)), torch.ones(5, 3, 5, 3), rtol=0, atol=1e-5
    )


def test_kernels_are_centred_on_the_green_centroid(bank):
    for kernel in bank.kernels[:, :, :, 1].double().reshape(-1, 31, 31).numpy():
        x, y, _ = _moments(kernel)
        assert math.hypot(x, y) < 0.01


def test_mirrored_nodes_have_mirrored_kernels(bank):
    torch.testing.assert_close(bank.kernels.flip(2, 5), bank.kernels, rtol=0, atol=1e-6)
    torch.testing.assert_close(bank.kernels.flip(1, 4), bank.kernels, rtol=0, atol=1e-6)
    torch.testing.assert_close(bank.relative_illumination.flip(1), bank.relative_illumination)
    torch.testing.assert_close(bank.relative_illumination.flip(2), bank.relative_illumination)


def test_axis_kernel_looks_the_same_turned_and_mirrored(bank):
    axis = bank.kernels[:, 1, 2]
    difference = (axis - axis.transpose(-1, -2)).abs().sum((-1, -2))
    assert difference.max() < 1e-5


def test_vignetting_grows_to_the_corner(bank):
    assert (bank.relative_illumination <= 1).all()
    torch.testing.assert_close(bank.relative_illumination[:, 1, 2], torch.ones(5))
    corner, edge = bank.relative_illumination[:, 0, 0], bank.relative_illumination[:, 1, 0]
    assert (corner < edge).all()
    assert 0.28 < float(corner.min()) <= float(corner.max()) < 0.42


def test_corner_kernel_is_a_cats_eye_across_the_radius(bank):
    kernel = bank.kernels[0, 0, 0, 1].double().numpy()
    axis = np.arange(31) - 15
    angle = math.atan2(-180, -240)
    along = axis * math.cos(angle) + axis[:, None] * math.sin(angle)
    across = -axis * math.sin(angle) + axis[:, None] * math.cos(angle)
    assert (kernel * across**2).sum() > 2.0 * (kernel * along**2).sum()


def test_the_default_lens_blurs_its_corner_as_its_centre_at_another_distance():
    """A patch without its location on the sensor is ambiguous."""
    params = BankParams(distances=41, field_rows=3, field_cols=3, pupil_samples=81)
    bank = build_bank(Camera(), params, WORKING_M)
    corner, middle = (bank.kernels[:, node, node].flatten(1) for node in (0, 1))
    alike = torch.cdist(corner, middle, p=1).argmin(dim=1)
    other = (bank.distances_m[alike] / bank.distances_m).log().abs()
    assert 0.1 < float(other.mean()) < 0.5


def test_the_cameras_of_the_readme_fit_the_default_kernel():
    block = re.search(r"```yaml\n(camera:.*?)```", README.read_text(), re.S)[1]
    described = CameraParams(**yaml.safe_load(block)["camera"])
    params = BankParams(distances=5, field_rows=3, field_cols=3, pupil_samples=81)
    for name in (described.lens.name, re.search(r"such as (\w+)", block)[1]):
        lens = described.lens.model_copy(update={"name": name})
        camera = Camera.from_params(described.model_copy(update={"lens": lens}))
        assert build_bank(camera, params, WORKING_M).kernels.shape[-1] == params.kernel_px


def test_front_has_rings_and_back_has_cores(bank):
    """Spherical aberration resolves the front/back ambiguity."""
    near, far = bank.kernels[-1, 1, 2, 1], bank.kernels[0, 1, 2, 1]
    assert near[15, 15] < 0.9 * near[near > 0.2 * near.max()].mean()
    assert far[15, 15] > 1.1 * far[far > 0.2 * far.max()].mean()


def _optiland_spots_px(optic, lens: FocusedLens, point: np.ndarray, wavelength: float):
    """Where optiland lands a fine grid of rays from a point [mm], in the picture's directions."""
    from optiland.rays import RealRays

    aim = np.linspace(-1.2, 1.2, 301) * lens.pupil_radius_mm
    pupil = np.stack([axis.ravel() for axis in np.meshgrid(aim, aim)])
    step = np.vstack([pupil - point[:2, None], np.full(pupil.shape[1], lens.pupil_z_mm - point[2])])
    step /= np.linalg.norm(step, axis=0)
    ones = np.ones(pupil.shape[1])
    rays = RealRays(*(point[:, None] * ones), *step, ones, wavelength * ones)
    with np.errstate(all="ignore"):
        optic.surfaces.trace(rays, skip=1)
    keep = (rays.i > 0) & np.isfinite(rays.x)
    # The image on the sensor is upside down; the picture is not.
    return -np.stack([rays.x, rays.y])[:, keep] * 1000 / CAMERA.pixel_pitch_um


@pytest.mark.parametrize("plane", [0, 4])
def test_kernel_equals_histogram_of_optiland_rays(bank, plane):
    """Height, rotation, mirroring and sign, above and right of the optical centre."""
    optic, wavelengths = focused_optic(CAMERA), np.array(COARSE.spectrum.wavelengths_um)
    lens = focused_lens(CAMERA, wavelengths)
    place = np.array([120.0, -180.0])  # of node (0, 3) from the optical centre, x and y [px]
    radius_mm = np.hypot(*place) * CAMERA.pixel_pitch_um / 1000
    z = lens.object_z_mm(bank.distances_m[[plane]].numpy())
    shares = COARSE.spectrum.shares[1]
    height = object_heights_mm(lens, int(shares.argmax()), z, np.array([radius_mm]))[0, 0]
    point = np.array([*(height * place / np.hypot(*place)), z[0]])
    found = [_optiland_spots_px(optic, lens, point, w) for w in wavelengths]
    spots = np.concatenate(found, axis=1)
    weights = np.repeat(shares, [part.shape[1] for part in found])
    centre = np.average(spots, axis=1, weights=weights)
    assert np.abs(centre - place).max() < 3.0
    edges = np.linspace(-15.5, 15.5, 94)
    cells, _, _ = np.histogram2d(
        *(spots - centre[:, None])[::-1], bins=[edges, edges], weights=weights
    )
    cells = gaussian_filter(cells, 3 * COARSE.gaussian_px)
    expected = cells.reshape(31, 3, 31, 3).sum((1, 3)) / cells.sum()
    kernel = bank.kernels[plane, 0, 3, 1].double().numpy()
    assert np.abs(kernel - expected).sum() < 0.04
    for wrong in (kernel[::-1, ::-1], kernel[::-1], kernel[:, ::-1]):
        assert np.abs(wrong - expected).sum() > 0.08


@pytest.mark.parametrize("reference", ["entrance_pupil", "front_vertex", "sensor"])
def test_blur_diameter_is_that_of_a_thin_lens(reference):
    """Stopped down, where aberrations are small: A f |1/d - 1/d0| / (1 - f / d0)."""
    camera = Camera(
        f_number=8, pixel_pitch_um=10, distance_reference=reference, focus_distance_m=1.5
    )
    params = BankParams(distances=3, field_rows=3, field_cols=3, kernel_px=31, pupil_samples=81)
    bank = build_bank(camera, params, WORKING_M)
    # The cone of light of a point stands on the entrance pupil: distances count from there.
    lens = focused_lens(camera, np.array([0.535]))
    depth = (lens.pupil_z_mm - lens.object_z_mm(bank.distances_m.numpy())) / 1000
    focus = (lens.pupil_z_mm - float(lens.object_z_mm(np.array(1.5)))) / 1000
    f = camera.focal_length_mm / 1000
    aperture_px = f / camera.f_number / (camera.pixel_pitch_um * 1e-6)
    for plane in (0, 2):
        expected = aperture_px * f * abs(1 / depth[plane] - 1 / focus) / (1 - f / focus)
        spread = _moments(bank.kernels[plane, 1, 1, 1].double().numpy())[2]
        assert math.sqrt(8 * spread) == pytest.approx(expected, rel=0.1)


def test_axial_colour_is_that_of_a_good_lens():
    """Paraxial focus between 0.45 and 0.65 um: 0.1-0.2 % of the focal length."""
    optic = focused_optic(CAMERA)
    back = [optic.paraxial.f2(), *_paraxial_foci_mm(optic, (0.45, 0.55, 0.65))]
    spread = max(back[1:]) - min(back[1:])
    assert 0.0005 < spread / 50.0 < 0.003


def _paraxial_foci_mm(optic, wavelengths_um):
    for wavelength in wavelengths_um:
        y, u = optic.paraxial.trace_generic(1.0, 0.0, -10.0, wavelength)
        yield float(-y[-1, 0] / u[-1, 0])


def test_a_kernel_too_small_for_the_blur_is_refused_with_the_size_needed():
    small = COARSE.model_copy(update={"kernel_px": 15, "pupil_samples": 41})
    with pytest.raises(LensError, match=r"bank\.kernel_px") as error:
        build_bank(CAMERA, small, WORKING_M)
    advice = re.search(r"kernel_px to (\d+)", str(error.value))
    assert advice is not None
    assert int(advice[1]) <= 31
    build_bank(CAMERA, small.model_copy(update={"kernel_px": int(advice[1])}), WORKING_M)


def test_sensor_larger_than_the_picture_is_refused():
    with pytest.raises(LensError, match="Make the sensor smaller"):
        build_bank(Camera(pixel_pitch_um=400, focus_distance_m=1.5), COARSE, WORKING_M)


def test_off_centre_optical_axis_moves_the_symmetry():
    params = COARSE.model_copy(update={"pupil_samples": 41, "distances": 2})
    bank = build_bank(Camera(optical_centre_px=(240, 90), focus_distance_m=1.5), params, WORKING_M)
    assert bank.relative_illumination[0].argmax() in (
        2,
        7,
    )  # the two nodes next to the optical centre
    torch.testing.assert_close(bank.kernels[:, 0], bank.kernels[:, 1].flip(-2), atol=1e-6, rtol=0)
    assert not torch.allclose(bank.relative_illumination[:, 2], bank.relative_illumination[:, 0])
