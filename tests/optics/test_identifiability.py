"""Cramer-Rao bounds and front/back ambiguity, against closed forms and simulated patches."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest
import torch

from rangefinder.camera import Camera
from rangefinder.config import CameraParams, IdentifiabilityParams, Parameters
from rangefinder.optics.identifiability import (
    PatchSpectrum,
    TextureStatistics,
    bhattacharyya,
    covariance,
    distance_sd_dpt,
    identifiability_bank,
    identifiability_table,
    strong_texture_bound_m,
)

SIDE, NOISE, CONTRAST = 21, 0.02, 0.2
INVERSE = np.linspace(0.5, 1.5, 101)
WIDTHS = 1.0 + 2.0 * INVERSE  # sd of a Gaussian blur [px]
SHAPE_ONLY = ()


def gaussian_kernels(widths) -> torch.Tensor:
    offset = np.arange(41) - 20
    line = np.exp(-0.5 * (offset / np.asarray(widths)[:, None]) ** 2)
    kernels = line[:, :, None] * line[:, None, :]
    kernels /= kernels.sum((1, 2), keepdims=True)
    return torch.from_numpy(np.repeat(kernels[:, None], 3, axis=1))


def closed_form(widths):
    """Signal's share of one colour and its derivative `[D, F]`, from formulas of the Gaussian."""
    axis = np.fft.fftfreq(SIDE)
    down, across = np.meshgrid(axis, axis, indexing="ij")
    square = (down**2 + across**2).ravel()[1:]
    power = CONTRAST**2 * SIDE**2 / square / (1.0 / square).sum()
    signal = power * np.exp(-4 * math.pi**2 * square * widths[:, None] ** 2)
    slope = -8 * math.pi**2 * square * widths[:, None] * 2.0 * signal  # d width / d inverse = 2
    return signal, slope


def test_bound_of_a_gaussian_blur_is_that_of_its_formula():
    """Grey texture: one eigenvalue 3 S H^2 + s^2; all frequencies count half, twice each."""
    signal, slope = closed_form(WIDTHS)
    information = 0.5 * ((3 * slope / (3 * signal + NOISE**2)) ** 2).sum(1)
    patch = PatchSpectrum(SIDE)
    texture = TextureStatistics.of(CONTRAST, 0.0, 2.0)
    transfer = patch.transfer(gaussian_kernels(WIDTHS))
    sd = distance_sd_dpt(patch, transfer, INVERSE, texture, NOISE, SHAPE_ONLY)
    assert sd[1:-1] == pytest.approx(1 / np.sqrt(information)[1:-1], rel=2e-3)


def test_maximum_likelihood_on_simulated_patches_reaches_the_bound():
    """Maximum likelihood over a grid of distances, on independent draws."""
    signal, slope = closed_form(WIDTHS)
    true, patches = 50, 1500
    generator = np.random.default_rng(0)
    half = signal.shape[1] // 2
    rows = np.argsort(slope[true])[::2][:half]  # f and -f stand next to each other: one of each
    power = 3 * signal[:, rows] + NOISE**2
    seen = power[true] * generator.exponential(size=(patches, half))
    likelihood = -(np.log(power).sum(1) + seen @ (1 / power).T)
    best = INVERSE[likelihood.argmax(1)]
    patch = PatchSpectrum(SIDE)
    transfer = patch.transfer(gaussian_kernels(WIDTHS))
    texture = TextureStatistics.of(CONTRAST, 0.0, 2.0)
    sd = distance_sd_dpt(patch, transfer, INVERSE, texture, NOISE, SHAPE_ONLY)[true]
    assert best.std() == pytest.approx(sd, rel=0.1)


def test_an_unknown_texture_raises_the_bound():
    patch = PatchSpectrum(SIDE)
    transfer = patch.transfer(gaussian_kernels(WIDTHS))
    texture = TextureStatistics.of(CONTRAST, 0.1, 2.0)
    known = distance_sd_dpt(patch, transfer, INVERSE, texture, NOISE, SHAPE_ONLY)
    unknown = distance_sd_dpt(patch, transfer, INVERSE, texture, NOISE)
    assert (unknown > 1.2 * known).all()


def test_covariance_is_the_one_of_simulated_colours():
    """Three colours of partly shared texture, blurred apart, measured over many patches."""
    patch = PatchSpectrum(9)
    kernels = gaussian_kernels([0.5, 1.0, 2.0])[:, 0]
    transfer = patch.transfer(kernels[None])
    texture = TextureStatistics.of(0.3, 0.4, 2.0)
    stated = covariance(patch, transfer, texture, 0.05)[0]
    generator = torch.Generator().manual_seed(0)
    shape = (100_000, 3, transfer.shape[-1])
    draws = torch.randn(shape, dtype=torch.complex128, generator=generator)
    mix = torch.linalg.cholesky(0.6 * torch.ones(3, 3) + 0.4 * torch.eye(3)).to(torch.complex128)
    light = torch.einsum("ij,njf->nif", mix, draws) * patch.power(texture).sqrt()
    noise = torch.randn(shape, dtype=torch.complex128, generator=generator) * 0.05
    seen = light * transfer + noise
    found = torch.einsum("nif,njf->fij", seen, seen.conj()) / shape[0]
    scale = torch.diagonal(stated, dim1=-2, dim2=-1).real.amax(-1)[:, None, None]
    assert float(((found - stated).abs() / scale).max()) < 0.03


def test_bhattacharyya_distance_of_two_noise_levels():
    """Of k complex numbers with variances a and b: k log((a + b) / 2 sqrt(a b))."""
    patch = PatchSpectrum(11)
    count = (11**2 - 1) // 2 * 3
    eye = torch.eye(3, dtype=torch.complex128).expand(1, (11**2 - 1) // 2, 3, 3)
    distance = bhattacharyya(patch, 1.0 * eye, 4.0 * eye)
    assert float(distance) == pytest.approx(count * math.log(2.5 / 2.0))


def test_kernels_wider_than_the_patch_are_folded_not_cut():
    patch = PatchSpectrum(9)
    wide = gaussian_kernels([4.0])
    axis = np.fft.fftfreq(9)
    down, across = np.meshgrid(axis, axis, indexing="ij")
    known = np.exp(-2 * math.pi**2 * 16 * (down**2 + across**2))
    half = (down > 0) | ((down == 0) & (across > 0))
    found = patch.transfer(wide)[0, 0].numpy()
    assert found == pytest.approx(known[half], abs=1e-5)


PARAMS = IdentifiabilityParams(every=4, search_steps=10)


@pytest.fixture
def camera() -> Camera:
    """Focused where the bank of discs is sharp, 0.8 dpt."""
    return Camera.from_params(CameraParams(width_px=80, height_px=64, focus_distance_m=1.25))


def test_a_bank_that_is_symmetric_about_focus_is_fully_confusable(disc_bank, camera):
    table = identifiability_table(disc_bank, camera, 21, PARAMS)
    other = table[(table["distance_m"] / 1.25 - 1).abs() > 0.15]
    assert set(other["texture"]) == {
        "strong grey", "weak grey", "strong coloured", "weak coloured",
    }  # fmt: skip
    assert other["confusion"].to_numpy() == pytest.approx(0.5, abs=1e-3)
    mirrored = 1 / other["distance_m"] + 1 / other["partner_m"]
    assert mirrored.to_numpy() == pytest.approx(1.6, abs=1e-6)


def test_a_bank_that_differs_in_front_of_and_behind_focus_is_not_confusable(disc_bank, camera):
    """In front of focus, blue light is spread wider than red; behind it, the other way round."""
    kernels = disc_bank.kernels.clone()
    shifted = torch.roll(disc_bank.kernels, 3, dims=0)
    shifted[:3] = disc_bank.kernels[:1]
    kernels[:, :, :, 2] = shifted[:, :, :, 2]
    table = identifiability_table(
        dataclasses.replace(disc_bank, kernels=kernels), camera, 21, PARAMS
    )
    strong = table[table["texture"] == "strong grey"]
    assert (strong["confusion"] < 0.05).all()


def test_nothing_is_confused_where_no_other_distance_in_range_has_equal_blur(disc_bank, camera):
    far = camera.model_copy(update={"focus_distance_m": 10.0})
    table = identifiability_table(disc_bank, far, 21, PARAMS)
    assert (table["confusion"] == 0.0).all()
    assert table["partner_m"].isna().all()


def test_the_default_lens_is_sharpest_before_its_focus_and_least_precise_far_away():
    params = Parameters()
    small = params.camera.model_copy(
        update={"width_px": 120, "height_px": 90, "pixel_pitch_um": 166.6667}
    )
    camera = Camera.from_params(small)
    sampling = IdentifiabilityParams(planes=24, every=4, search_steps=5)
    coarse = params.bank.model_copy(update={"kernel_px": 11, "pupil_samples": 65})
    bank = identifiability_bank(camera, coarse, (0.7, 5.0), sampling)
    table = identifiability_table(bank, camera, 21, sampling)
    centre = table[(table["radius"] == 0) & (table["texture"] == "strong grey")]
    sharpest = centre.loc[centre["blur_px"].idxmin(), "distance_m"]
    assert 0.5 < sharpest / camera.focus_distance_m < 1.0
    assert (centre["sd_m"] < 0.1 * centre["distance_m"]).all()
    distances, sd = strong_texture_bound_m(bank, 21, sampling)
    assert sd[distances > 3].mean() > 3 * sd[distances < 1].mean()
