"""The PSF bank: its shape, its file, and that it is built once."""

from __future__ import annotations

import dataclasses

import pytest
import torch

from rangefinder.camera import Camera
from rangefinder.config import BankParams, LensParams
from rangefinder.errors import LensError
from rangefinder.optics import psf_bank as psf_bank
from rangefinder.optics.psf_bank import PsfBank, bank_fingerprint, bank_for, build_bank

from .conftest import CAMERA, COARSE, WORKING_M


def test_bank_has_the_shape_of_its_parameters(bank):
    assert bank.kernels.shape == (5, 3, 5, 3, 31, 31)
    assert bank.relative_illumination.shape == (5, 3, 5)
    assert bank.kernels.dtype == torch.float32
    torch.testing.assert_close(bank.distances_m[[0, -1]], torch.tensor([5.0, 0.7]).double())
    steps = bank.inverse_distance_dpt.diff()
    assert (steps > 0).all()
    torch.testing.assert_close(steps, steps.mean().expand(4))
    assert bank.field_y_px.tolist() == [0, 180, 360]
    assert bank.field_x_px.tolist() == [0, 120, 240, 360, 480]
    assert bank.size_px == (360, 480)
    assert bank.camera == CAMERA.fingerprint


def test_another_sample_lens_has_another_bank():
    camera = Camera(lens=LensParams(name="CookeTriplet"), f_number=4)
    params = COARSE.model_copy(update={"pupil_samples": 41, "distances": 2})
    bank = build_bank(camera, params, WORKING_M)
    assert bank.camera == camera.fingerprint != CAMERA.fingerprint
    assert float(bank.relative_illumination.min()) > 0.1


def test_a_saved_bank_is_loaded_unchanged(bank, tmp_path):
    bank.save(tmp_path / "banks" / "bank.safetensors")
    back = PsfBank.load(tmp_path / "banks" / "bank.safetensors", bank.fingerprint)
    assert torch.equal(back.kernels, bank.kernels)
    assert torch.equal(back.inverse_distance_dpt, bank.inverse_distance_dpt)
    assert (back.camera, back.fingerprint) == (bank.camera, bank.fingerprint)
    assert [path.name for path in (tmp_path / "banks").iterdir()] == ["bank.safetensors"]


def test_bank_of_another_fingerprint_is_refused(bank, tmp_path):
    path = tmp_path / "bank.safetensors"
    bank.save(path)
    with pytest.raises(LensError, match=bank.fingerprint):
        PsfBank.load(path, "0123456789abcdef")


def test_broken_file_is_refused(tmp_path):
    path = tmp_path / "bank.safetensors"
    path.write_bytes(b"not a bank")
    with pytest.raises(LensError, match="not a bank"):
        PsfBank.load(path)


def test_fingerprint_follows_camera_sampling_and_range():
    renamed, slower = (
        CAMERA.model_copy(update=change) for change in ({"name": "other"}, {"f_number": 2.8})
    )
    base = bank_fingerprint(CAMERA, COARSE, WORKING_M)
    assert base == bank_fingerprint(renamed, COARSE, WORKING_M)
    assert base != bank_fingerprint(slower, COARSE, WORKING_M)
    assert base != bank_fingerprint(CAMERA, BankParams(), WORKING_M)
    assert base != bank_fingerprint(CAMERA, COARSE, (0.7, 4.0))


def test_bank_is_built_once(bank, tmp_path, monkeypatch):
    built = []

    def build(camera, params, working_m, home):
        built.append(camera)
        name = bank_fingerprint(camera, params, working_m)
        return dataclasses.replace(bank, fingerprint=name)

    monkeypatch.setattr(psf_bank, "build_bank", build)
    first = bank_for(CAMERA, COARSE, WORKING_M, tmp_path)
    second = bank_for(CAMERA, COARSE, WORKING_M, tmp_path)
    assert len(built) == 1
    assert torch.equal(first.kernels, second.kernels)
    bank_for(CAMERA, COARSE, (0.7, 4.0), tmp_path)
    assert len(built) == 2
    path = tmp_path / f"{first.fingerprint}.safetensors"
    damaged = bytearray(path.read_bytes())
    damaged[-1] ^= 1
    path.write_bytes(damaged)
    third = bank_for(CAMERA, COARSE, WORKING_M, tmp_path)
    assert len(built) == 3
    assert torch.equal(first.kernels, third.kernels)
