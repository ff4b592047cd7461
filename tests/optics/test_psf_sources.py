"""PSFs from Zemax files, from measured point sources and from thin lenses."""

from __future__ import annotations

import re
from pathlib import Path

import imagecodecs
import numpy as np
import pytest
from PIL import Image

from rangefinder.config import BankParams, CameraParams
from rangefinder.config.imaging import SpectrumParams
from rangefinder.errors import LensError
from rangefinder.optics.prescription import focused_optic
from rangefinder.optics.psf_bank import PsfBank, build_bank
from rangefinder.optics.psf_sources import camera_record

from .small_lenses import camera_for, singlet, write

PRESCRIPTIONS = Path(__file__).resolve().parents[3] / "shared/data/lens_prescriptions"
needs_prescriptions = pytest.mark.skipif(
    not PRESCRIPTIONS.is_dir(), reason="the patent lenses are not part of the project"
)
RF50 = PRESCRIPTIONS.parent / "rf50_f4/lens/rf50mm.zmx"
needs_rf50 = pytest.mark.skipif(
    not RF50.is_file(), reason="the prescription of the RF 50 mm is not part of the project"
)
SIZE = {"width_px": 96, "height_px": 72, "pixel_pitch_um": 100.0}
RANGE_M = (1.2, 20.0)
BANK = BankParams(distances=9, field_rows=3, field_cols=3, kernel_px=31, pupil_samples=65)


def camera_of(focus_m: float = 2.5, **lens: object):
    values = {"focal_length_mm": 100.0, "f_number": 6.0, "focus_distance_m": focus_m, **SIZE}
    values["distance_reference"] = "entrance_pupil"
    return CameraParams.model_validate(values | {"lens": lens})


def on_axis(bank: PsfBank):
    """Green kernels `[D, k, k]` in the middle of the sensor."""
    return bank.kernels[:, 1, 1, 1].double().numpy()


def rms_px(kernels):
    """Root mean square distance from the centre of light `[D]`."""
    side = np.arange(kernels.shape[-1])
    y = (kernels.sum(axis=2) * side).sum(axis=1)[:, None, None]
    x = (kernels.sum(axis=1) * side).sum(axis=1)[:, None, None]
    square = (side[:, None] - y) ** 2 + (side[None] - x) ** 2
    return np.sqrt((kernels * square).sum(axis=(1, 2)))


def pupil_limited_rms_px(params: CameraParams, distance_m, gaussian_px: float):
    """A disc as wide as the pupil makes it, and the bank's pixel response.

    Distances count from the entrance pupil: there this is exact for a lens without aberrations.
    """
    focal, focus = params.focal_length_mm, params.focus_distance_m
    magnification = focal / (1000 * focus - focal)
    pupil_px = focal / params.f_number * 1000 / params.pixel_pitch_um
    radius_px = pupil_px / 2 * magnification * np.abs(1 - focus / distance_m)
    return np.sqrt(radius_px**2 / 2 + 2 * gaussian_px**2 + 2 / 12)


def require_plausible(bank: PsfBank, params: CameraParams):
    distance_m = bank.distances_m.numpy()
    found = rms_px(on_axis(bank))
    expected = pupil_limited_rms_px(params, distance_m, BANK.gaussian_px)
    ends = found[[0, -1]] / expected[[0, -1]]
    assert ends == pytest.approx([1, 1], abs=0.1)
    assert abs(1 / distance_m[np.argmin(found)] - 1 / params.focus_distance_m) < 0.06


@needs_prescriptions
@pytest.mark.parametrize(
    # At f/6 the spherical aberration of the second widens blur in front of the focus by 10 %.
    ("name", "f_number"),
    [("2117252a.zmx", 6.0), ("2645156.zmx", 8.0)],
)
def test_a_zemax_lens_has_the_blur_of_its_pupil_and_is_sharpest_at_its_focus(name, f_number):
    params = camera_of(kind="zemax", file=name).model_copy(update={"f_number": f_number})
    record = camera_record(params, PRESCRIPTIONS)
    require_plausible(build_bank(record, BANK, RANGE_M, PRESCRIPTIONS), params)


@needs_prescriptions
def test_a_lens_laid_out_the_other_way_round_is_refused():
    record = camera_record(camera_of(kind="zemax", file="5000548a.zmx"), PRESCRIPTIONS)
    with pytest.raises(LensError, match=r"5000548a\.zmx .*: its object is nearer than its image"):
        build_bank(record, BANK, RANGE_M, PRESCRIPTIONS)


def disc_px(bank: PsfBank):
    """Widths of the discs `[D, 3]` on the axis that are as wide (rms) as the kernels.

    Without the bank's pixel response.
    """
    kernels = bank.kernels[:, 1, 1].double().numpy()
    square = np.stack([rms_px(kernels[:, colour]) ** 2 for colour in range(3)], axis=1)
    return np.sqrt(8.0 * (square - 2 * BANK.gaussian_px**2 - 2 / 12))


LINES = SpectrumParams(
    wavelengths_um=(0.615, 0.535, 0.465), red=(1, 0, 0), green=(0, 1, 0), blue=(0, 0, 1)
)
RF50_BANK = BankParams(
    distances=5,  # 0.6, 0.75, 1, 1.5 and 3 m
    field_rows=3,
    field_cols=3,
    kernel_px=33,
    pupil_samples=161,
    spectrum=LINES,
)


@needs_rf50
def test_a_real_lens_with_aspheres_has_the_blur_and_the_colours_that_optiland_finds():
    record = camera_record(
        CameraParams(
            focal_length_mm=50.0,
            f_number=4.0,
            pixel_pitch_um=46.7,
            width_px=768,
            height_px=512,
            focus_distance_m=1.0,
            lens={"kind": "zemax", "file": str(RF50)},
        ),
        RF50.parent,
    )
    bank = build_bank(record, RF50_BANK, (0.6, 3.0))
    red, green, _ = disc_px(bank)[[4, 1, 0]].T  # near to far
    np.testing.assert_allclose(bank.distances_m[[4, 1, 0]], [0.6, 1.5, 3.0], rtol=1e-6)
    np.testing.assert_allclose(green, [10.1, 5.6, 10.5], atol=0.1)
    np.testing.assert_allclose(red - green, [0.42, -0.43, -0.43], atol=0.03)


@pytest.mark.parametrize(("plane", "sign"), [(0, -1), (-1, 1)])
def test_an_achromat_focuses_red_and_blue_behind_green(plane, sign):
    """So before the focus both blur more than green, and behind it less."""
    camera = CameraParams.model_validate(
        {"lens": {"kind": "thin", "axial_colour": 0.0, "secondary_spectrum": 0.002}}
    )
    bank = build_bank(camera_record(camera, Path()), BANK, (1.5, 20.0))
    red, green, blue = disc_px(bank)[plane]
    assert sign * (red - green) > 0.05
    assert sign * (blue - green) > 0.05


def test_blue_depends_on_how_much_violet_counts():
    thin = {"kind": "thin", "axial_colour": 0.0, "secondary_spectrum": 0.002}
    record = camera_record(CameraParams.model_validate({"lens": thin}), Path())
    violet = SpectrumParams(
        wavelengths_um=(0.42, 0.48, 0.55, 0.62),
        red=(0, 0, 0, 1),
        green=(0, 0, 1, 0),
        blue=(1, 0, 0, 0),
    )
    cyan = violet.model_copy(update={"blue": (0, 1, 0, 0)})
    discs = [
        disc_px(build_bank(record, BANK.model_copy(update={"spectrum": s}), (1.5, 20.0)))[-1, 2]
        for s in (violet, cyan)
    ]
    assert discs[0] > discs[1] + 0.1


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"red": (1, 0)}, "one weight for each of 4"),
        ({"green": (0, 0, 0, 0)}, "green has no light"),
    ],
)
def test_a_spectrum_without_a_weight_for_each_wavelength_is_refused(change, why):
    weights = {"red": (0, 0, 0, 1), "green": (0, 0, 1, 0), "blue": (1, 0, 0, 0)}
    with pytest.raises(ValueError, match=why):
        SpectrumParams(wavelengths_um=(0.42, 0.48, 0.55, 0.62), **(weights | change))


def test_an_aspheric_lens_has_the_blur_that_optiland_finds(tmp_path):
    camera = camera_for(write(tmp_path, singlet()), f_number=4.0, distance_reference="sensor")
    params = BANK.model_copy(update={"spectrum": LINES})
    bank = build_bank(camera, params, (0.8, 5.0))
    optic = focused_optic(camera)
    sensor_mm = float(optic.image_surface.geometry.cs.z)
    for plane in (0, -1):
        z = sensor_mm - 1000 * float(bank.distances_m[plane])
        for colour, um in enumerate((0.615, 0.535, 0.465)):
            expected = optiland_disc_px(optic, z, um, camera.pixel_pitch_um)
            assert disc_px(bank)[plane, colour] == pytest.approx(expected, abs=0.05)


def optiland_disc_px(optic, z_mm: float, wavelength_um: float, pitch_um: float) -> float:
    """Width of the disc as wide (rms) as optiland's spot of a point on the axis."""
    from optiland.rays import RealRays

    pupil_z, side = float(optic.paraxial.EPL()), np.linspace(-1.2, 1.2, 401)
    x, y = np.stack(np.meshgrid(side, side)).reshape(2, -1) * float(optic.paraxial.EPD()) / 2
    norm = np.sqrt(x**2 + y**2 + (pupil_z - z_mm) ** 2)
    zero, one = np.zeros_like(x), np.ones_like(x)
    rays = RealRays(
        *(zero, zero, z_mm * one, x / norm, y / norm, (pupil_z - z_mm) / norm, one),
        wavelength_um * one,
    )
    with np.errstate(all="ignore"):
        optic.surfaces.trace(rays, skip=1)
    lit = rays.i > 0
    return float(np.sqrt(8 * np.mean(rays.x[lit] ** 2 + rays.y[lit] ** 2))) * 1000 / pitch_um


def test_a_file_that_is_no_prescription_is_refused(tmp_path):
    (tmp_path / "lens.zmx").write_text("not a lens")
    record = camera_record(camera_of(kind="zemax", file="lens.zmx"), tmp_path)
    with pytest.raises(LensError, match=r"lens\.zmx"):
        build_bank(record, BANK, RANGE_M, tmp_path)


def test_a_missing_lens_file_is_refused(tmp_path):
    with pytest.raises(LensError, match=r"camera\.lens\.file cannot be read"):
        camera_record(camera_of(kind="zemax", file="lens.zmx"), tmp_path)


def test_a_lens_file_counts_by_its_content_wherever_it_lies(tmp_path):
    prints = []
    for name, text in (("a.zmx", "x"), ("b.zmx", "x"), ("c.zmx", "y")):
        (tmp_path / name).write_text(text)
        prints.append(camera_record(camera_of(kind="zemax", file=name), tmp_path).fingerprint)
    assert prints[0] == prints[1] != prints[2]


def test_a_thin_lens_has_the_blur_of_its_pupil_and_is_sharpest_at_its_focus(tmp_path):
    params = camera_of(kind="thin")
    require_plausible(build_bank(camera_record(params, tmp_path), BANK, RANGE_M), params)


def test_a_thin_lens_with_blur_beyond_its_kernels_is_refused_with_the_remedy(tmp_path):
    small, record = (
        BANK.model_copy(update={"kernel_px": 9}),
        camera_record(camera_of(kind="thin"), tmp_path),
    )
    with pytest.raises(LensError, match=r"kernel_px = 9; expected at most 0\.1%\. Set") as caught:
        build_bank(record, small, RANGE_M)
    (needed,) = re.findall(r"Set bank\.kernel_px to (\d+)", str(caught.value))
    build_bank(record, small.model_copy(update={"kernel_px": int(needed)}), RANGE_M)


def test_blur_beyond_the_largest_kernel_is_refused_with_the_reduction_of_the_photos(tmp_path):
    large = camera_of(kind="thin").model_copy(update={"pixel_pitch_um": 2.0, "width_px": 3333})
    record, most = camera_record(large, tmp_path), BANK.model_copy(update={"kernel_px": 129})
    with pytest.raises(LensError, match="Reduce the photos") as caught:
        build_bank(record, most, RANGE_M)
    (times, pitch, width) = re.findall(
        r"(\d+) times \(pixel_pitch_um: (\d+), width_px: (\d+)", str(caught.value)
    )[0]
    assert (int(pitch), int(width)) == (2 * int(times), 3333 // int(times))
    build_bank(record.reduced(int(times)), most, RANGE_M)


def test_axial_colour_resolves_the_front_back_ambiguity_of_a_thin_lens(tmp_path):
    params = camera_of(kind="thin", axial_colour=0.003)
    bank = build_bank(camera_record(params, tmp_path), BANK, RANGE_M)
    red, blue = (rms_px(bank.kernels[:, 1, 1, c].double().numpy()) for c in (0, 2))
    assert red[0] < blue[0]  # red is focused farther behind the lens, as near objects are
    assert red[-1] > blue[-1]


def test_a_lens_without_a_prescription_has_no_bank(tmp_path):
    record = camera_record(camera_of(kind="none"), tmp_path)
    with pytest.raises(LensError, match="nothing is known of the lens"):
        build_bank(record, BANK, RANGE_M)


def write_sources(folder: Path, params: CameraParams, distances_m, suffix: str = ".tif") -> PsfBank:
    """Point sources as a thin lens shows them, on a grey background."""
    bank = build_bank(camera_record(params, folder), BANK, RANGE_M)
    for plane, distance in enumerate(bank.distances_m.tolist()):
        if any(abs(distance - chosen) < 0.01 for chosen in distances_m):
            kernel = bank.kernels[plane, 1, 1].permute(1, 2, 0).numpy()
            pixels = np.rint((kernel / kernel.max() * 0.8 + 0.02) * 65535).astype(np.uint16)
            for x, y in ((48, 36), (2, 2)):
                path = folder / f"psf_{distance:.4f}m_x{x}_y{y}{suffix}"
                imagecodecs.imwrite(path, np.ascontiguousarray(pixels))
    return bank


@pytest.mark.parametrize("suffix", [".tif", ".png"])
def test_measured_point_sources_become_the_bank(tmp_path, suffix):
    thin = camera_of(kind="thin", axial_colour=0.0)
    all_m = build_bank(camera_record(thin, tmp_path), BANK, RANGE_M).distances_m.tolist()
    bank = write_sources(tmp_path, thin, all_m, suffix)
    measured = camera_of(kind="measured", file=".")
    made = build_bank(camera_record(measured, tmp_path), BANK, RANGE_M, tmp_path)
    difference = (made.kernels - bank.kernels).abs().sum(dim=(-1, -2)) / 2
    assert float(difference.max()) < 0.05
    assert float(made.relative_illumination.min()) > 0.9


@pytest.mark.parametrize(("light", "message"), [(0, "no point source"), (200, "too few")])
def test_black_or_too_few_point_sources_are_refused(tmp_path, light, message):
    crop = np.zeros((9, 9), np.uint8)
    crop[4, 4] = light
    Image.fromarray(crop).save(tmp_path / "psf_1m_x1_y1.png")
    with pytest.raises(LensError, match=message):
        build_bank(
            camera_record(camera_of(kind="measured", file="."), tmp_path), BANK, RANGE_M, tmp_path
        )


def test_distances_beyond_the_measured_are_refused(tmp_path):
    thin = camera_of(kind="thin")
    all_m = build_bank(camera_record(thin, tmp_path), BANK, RANGE_M).distances_m.tolist()
    write_sources(tmp_path, thin, all_m)
    record = camera_record(camera_of(kind="measured", file="."), tmp_path)
    with pytest.raises(LensError, match="so near or so far"):
        build_bank(record, BANK, (1.0, 20.0), tmp_path)
