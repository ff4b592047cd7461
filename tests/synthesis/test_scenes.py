"""Composed charts and scenes: layers, distances and textures."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from rangefinder.config import CaptureParams
from rangefinder.synthesis.scenes import (
    Composition,
    Frame,
    compose_chart,
    compose_scene,
    inverse_distance_dpt,
)
from rangefinder.synthesis.textures import TextureSampler, texture_energy

FRAME = Frame(height_px=48, width_px=64, margin_px=4)
WORKING_M = (0.7, 5.0)


@pytest.fixture(scope="module")
def scenes(textures) -> list[Composition]:
    params = CaptureParams(objects=(3, 6))
    sampler = TextureSampler(textures, params)
    generator = np.random.default_rng(3)
    return [compose_scene(FRAME, sampler, WORKING_M, params, generator) for _ in range(60)]


def _inverse(distance_m: float | torch.Tensor) -> torch.Tensor:
    return 1 / torch.as_tensor(distance_m, dtype=torch.float32).expand(FRAME.padded_size)


def test_chart_is_one_plane_of_several_textures(sampler: TextureSampler, generator):
    charts = [compose_chart(FRAME, sampler, 1.3, generator) for _ in range(30)]
    for chart in charts:
        assert len(chart.layers) == 1
        assert chart.layers[0].alpha is None
        assert chart.layers[0].distance_m == 1.3
        assert chart.layers[0].rgb.shape == (3, *FRAME.padded_size)
        assert torch.all(chart.distance_m == 1.3)
        assert torch.equal(chart.sharp, chart.layers[0].rgb[:, 4:-4, 4:-4])
    assert np.mean([len(chart.sources) > 1 for chart in charts]) > 0.7


def test_the_texture_of_a_chart_is_independent_of_its_distance(sampler: TextureSampler):
    near = compose_chart(FRAME, sampler, 0.7, np.random.default_rng(5))
    far = compose_chart(FRAME, sampler, 5.0, np.random.default_rng(5))
    assert torch.equal(near.sharp, far.sharp)


def test_the_texture_of_an_object_is_independent_of_its_distance(scenes: list[Composition]):
    detail, inverse = [], []
    for scene in scenes:
        for layer in scene.layers[1:]:
            inside = layer.alpha == 1
            if inside.sum() < 30:
                continue
            log = layer.rgb.mean(dim=0).log()
            pair = inside[:, 1:] & inside[:, :-1]
            detail.append(float((log[:, 1:] - log[:, :-1])[pair].std()))
            inverse.append(float(_inverse(layer.distance_m)[inside].mean()))
    assert len(detail) > 150
    assert abs(np.corrcoef(detail, inverse)[0, 1]) < 0.2


def test_distance_is_that_of_the_frontmost_layer(scenes: list[Composition]):
    for scene in scenes:
        expected = _inverse(scene.layers[0].distance_m).clone()
        for layer in scene.layers[1:]:
            expected = torch.where(layer.alpha >= 0.5, _inverse(layer.distance_m), expected)
        assert torch.allclose(1 / scene.distance_m, expected[4:-4, 4:-4], rtol=1e-5)


def test_a_layer_is_nearer_than_all_that_it_hides(scenes: list[Composition]):
    for scene in scenes:
        seen = _inverse(scene.layers[0].distance_m).clone()
        for layer in scene.layers[1:]:
            inverse = _inverse(layer.distance_m)
            covered = layer.alpha > 0
            assert torch.all((inverse - seen)[covered] > -1e-5)
            seen = torch.where(layer.alpha >= 0.5, inverse, seen)


def test_distances_span_the_working_range_and_stay_inside(scenes: list[Composition]):
    inverse = torch.stack([1 / scene.distance_m for scene in scenes])
    assert float(inverse.min()) >= 1 / 5.0 - 1e-4
    assert float(inverse.max()) <= 1 / 0.7 + 1e-4
    shares = torch.histc(inverse, bins=5, min=1 / 5.0, max=1 / 0.7) / inverse.numel()
    assert float(shares.min()) > 0.04


def test_number_of_objects_and_share_of_slanted_ones(scenes: list[Composition]):
    objects = [layer for scene in scenes for layer in scene.layers[1:]]
    assert all(3 <= len(scene.layers) - 1 <= 6 for scene in scenes)
    slanted = np.mean([isinstance(layer.distance_m, torch.Tensor) for layer in objects])
    assert 0.25 < slanted < 0.6
    backgrounds = [isinstance(scene.layers[0].distance_m, torch.Tensor) for scene in scenes]
    assert 0.6 < np.mean(backgrounds) < 0.97


def test_slanted_planes_are_linear_in_inverse_distance(textures):
    params = CaptureParams(objects=(1, 1), slanted_share=1.0)
    sampler = TextureSampler(textures, params)
    generator = np.random.default_rng(0)
    checked = 0
    for _ in range(20):
        item = compose_scene(FRAME, sampler, WORKING_M, params, generator).layers[1]
        inside = item.alpha == 1
        interior = inside[1:-1, :-2] & inside[1:-1, 1:-1] & inside[1:-1, 2:]
        if not isinstance(item.distance_m, torch.Tensor) or interior.sum() < 10:
            continue
        inverse = 1 / item.distance_m[1:-1]
        curvature = (inverse[:, 2:] - 2 * inverse[:, 1:-1] + inverse[:, :-2])[interior]
        checked += int(float(curvature.abs().max()) < 2e-6)
    assert checked >= 10


def test_layers_and_sharp_picture_belong_together(scenes: list[Composition]):
    for scene in scenes[:10]:
        flat = scene.layers[0].rgb
        for layer in scene.layers[1:]:
            flat = flat + (layer.rgb - flat) * layer.alpha
        assert torch.allclose(flat[:, 4:-4, 4:-4], scene.sharp, atol=1e-5)


def test_scenes_have_weakly_textured_areas(scenes: list[Composition]):
    energy = torch.stack([texture_energy(scene.sharp, 3) for scene in scenes])
    weak = float((energy < 1e-3).float().mean())
    assert 0.05 < weak < 0.6


def test_a_logarithmic_prior_puts_as_many_things_into_every_octave(textures):
    params = CaptureParams(distance_prior="log", objects=(4, 4))
    sampler = TextureSampler(textures, params)
    generator = np.random.default_rng(5)
    nearest = [
        1 / float(np.max(_inverse(layer.distance_m).numpy()))
        for _ in range(40)
        for layer in compose_scene(FRAME, sampler, (0.5, 8.0), params, generator).layers[1:]
    ]
    before, behind = np.mean(np.array(nearest) < 1.0), np.mean(np.array(nearest) >= 2.0)
    assert 0.15 < before < 0.55
    assert behind > 0.2


def test_shares_of_a_range_are_even_in_dioptres_or_in_the_logarithm():
    assert inverse_distance_dpt((0.125, 2.0), 0.5, "inverse") == pytest.approx(1.0625)
    assert inverse_distance_dpt((0.125, 2.0), 0.5, "log") == pytest.approx(0.5)
    for prior in ("inverse", "log"):
        assert inverse_distance_dpt((0.125, 2.0), 0.0, prior) == pytest.approx(0.125)
        assert inverse_distance_dpt((0.125, 2.0), 1.0, prior) == pytest.approx(2.0)
