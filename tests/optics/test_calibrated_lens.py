"""Calibrated lenses: their file, the fingerprint of cameras that name it, banks, corrections."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from rangefinder.camera import Camera
from rangefinder.common.sealed import read_arrays, write_arrays
from rangefinder.config import BankParams
from rangefinder.errors import LensError
from rangefinder.optics.calibrated_lens import CalibratedLens
from rangefinder.optics.lens_model import LensModel, LensShape
from rangefinder.optics.psf_bank import build_bank
from rangefinder.optics.psf_sources import camera_record
from rangefinder.optics.residual_kernels import CELLS, SIDES, ZONES, ResidualKernels

CAMERA = Camera(width_px=96, height_px=72, pixel_pitch_um=100.0, f_number=2.8, focus_distance_m=1.5)
BANK = BankParams(distances=5, field_rows=3, field_cols=3, kernel_px=25)
RANGE_M = (0.8, 6.0)


def lens(residual: ResidualKernels | None = None, **shape: float) -> CalibratedLens:
    return CalibratedLens(LensModel(CAMERA, replace(LensShape.of(CAMERA), **shape)), residual)


def record(folder, one: CalibratedLens) -> Camera:
    """The camera of a lens that was written to a folder."""
    one.save(folder / "lens.safetensors")
    params = one.model.camera.lens.model_validate(
        {"kind": "calibrated", "file": "lens.safetensors"}
    )
    return camera_record(one.model.camera.model_copy(update={"lens": params}), folder)


def ring(weight: float) -> ResidualKernels:
    """Light moved from the middle of all kernels to their edge."""
    density = np.zeros((SIDES, ZONES, 3, CELLS, CELLS))
    y, x = np.mgrid[:CELLS, :CELLS] - CELLS // 2
    radius = np.hypot(x, y) * 3 / CELLS
    density[..., np.abs(radius - 0.9) < 0.1] = weight
    density[..., radius < 0.5] = -weight
    return ResidualKernels(density)


def test_a_lens_is_read_as_it_was_written(tmp_path):
    one = lens(ring(0.1), red_dpt=0.02, sagittal_dpt=0.3)
    one.save(tmp_path / "lens.safetensors")
    again = CalibratedLens.load(tmp_path / "lens.safetensors")
    assert again.model.shape == one.model.shape
    assert again.model.record.pixel_pitch_um == 100.0
    np.testing.assert_array_equal(again.residual.density, one.residual.density)


def test_other_files_are_refused(tmp_path):
    path = tmp_path / "lens.safetensors"
    path.write_bytes(b"no lens")
    with pytest.raises(LensError, match="no calibrated lens"):
        CalibratedLens.load(path)


@pytest.mark.parametrize(
    "wrong",
    [
        *({"f_number": value} for value in (-2.0, 0.0, float("nan"), "wide", None)),
        *({"focus_dpt": value} for value in (-1.0, 0.0)),
        {"coma_dpt": float("inf")},
        {"tilt_dpt": 1.0},
    ],
)
def test_wrong_values_are_refused(tmp_path, wrong):
    path = tmp_path / "lens.safetensors"
    lens().save(path)
    arrays, metadata = read_arrays(path, ["density"])
    write_arrays(path, arrays, metadata | {"shape": metadata["shape"] | wrong})
    with pytest.raises(LensError, match="no calibrated lens"):
        CalibratedLens.load(path)


def test_the_fingerprint_of_a_camera_is_that_of_its_lens_file(tmp_path):
    first = record(tmp_path, lens())
    second = record(tmp_path, lens(red_dpt=0.02))
    assert first.fingerprint != second.fingerprint
    assert first.fingerprint == record(tmp_path, lens()).fingerprint


def test_another_camera_record_is_refused(tmp_path):
    camera = record(tmp_path, lens())
    for change in ({"f_number": 2.9}, {"pixel_pitch_um": 50.0}, {"distance_offset_m": 0.05}):
        with pytest.raises(LensError, match="calibrated for another"):
            build_bank(camera.model_copy(update=change), BANK, RANGE_M, tmp_path)


def test_the_bank_has_the_discs_vignetting_and_symmetry_of_the_lens(tmp_path):
    bank = build_bank(record(tmp_path, lens()), BANK, RANGE_M, tmp_path)
    pixels_px2 = 16 * (0.4**2 + 1 / 12 + 1 / 108)  # pixels, diffraction and splatting
    blur = np.sqrt(lens().model.blur_px(bank.distances_m.numpy()) ** 2 + pixels_px2)
    discs = bank.blur().discs_px
    np.testing.assert_allclose(discs[:, 1, 1], blur, atol=0.12)
    assert (discs[blur > 4, 0, 0] < 0.95 * blur[blur > 4]).all()
    corner = bank.relative_illumination[:, 0, 0]
    assert ((corner > 0.3) & (corner < 0.95)).all()
    np.testing.assert_array_equal(bank.kernels[:, 0, 0], bank.kernels[:, 2, 2].flip(-1, -2))


def test_blur_larger_than_kernels_is_refused_with_their_size(tmp_path):
    small = BANK.model_copy(update={"kernel_px": 5})
    with pytest.raises(LensError, match=r"bank\.kernel_px to 9,"):
        build_bank(record(tmp_path, lens()), small, RANGE_M, tmp_path)


def test_a_calibrated_lens_can_be_stopped_down(tmp_path):
    bank = build_bank(record(tmp_path, lens()), BANK, RANGE_M, tmp_path, stop_f_number=16.0)
    assert bank.blur().discs_px.max() < 4


def test_corrections_move_light_grow_with_blur_and_vanish_in_focus(tmp_path):
    plain = build_bank(record(tmp_path, lens()), BANK, (0.8, 1.5), tmp_path).kernels
    ringed = build_bank(record(tmp_path, lens(ring(0.1))), BANK, (0.8, 1.5), tmp_path).kernels
    change = (ringed - plain).abs().sum((-1, -2)).mean((1, 2, 3))
    assert change[0] < 1e-3  # at the focus
    assert change[-1] > 0.1
    assert float(ringed.min()) >= 0
    np.testing.assert_allclose(ringed.sum((-1, -2)), 1.0, atol=1e-5)
    assert ringed[-1, 1, 1, 1, 12, 12] < plain[-1, 1, 1, 1, 12, 12]
