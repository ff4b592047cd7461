"""Rendering equals the per-pixel sum of interpolated kernels; layers hide each other."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from rangefinder.errors import CaptureError
from rangefinder.optics.psf_bank import PsfBank
from rangefinder.optics.rendering import Layer, refocused, render, render_rgbd


def random_bank(
    height: int = 24, width: int = 32, planes: int = 5, kernel_px: int = 7, seed: int = 0
) -> PsfBank:
    """Kernels without any symmetry or smoothness, some narrower than the array."""
    rng = np.random.default_rng(seed)
    kernels = rng.random((planes, 3, 4, 3, kernel_px, kernel_px)) ** 4
    for plane in range(planes):
        edge = (planes - 1 - plane) % (kernel_px // 2 + 1)
        inside = np.zeros((kernel_px, kernel_px))
        inside[edge : kernel_px - edge, edge : kernel_px - edge] = 1.0
        kernels[plane] *= inside
    kernels /= kernels.sum((-1, -2), keepdims=True)
    return PsfBank(
        kernels=torch.from_numpy(kernels).float(),
        relative_illumination=torch.from_numpy(0.5 + 0.5 * rng.random((planes, 3, 4))).float(),
        inverse_distance_dpt=torch.linspace(0.2, 1.4, planes, dtype=torch.float64),
        field_y_px=torch.linspace(0, height, 3, dtype=torch.float64),
        field_x_px=torch.linspace(0, width, 4, dtype=torch.float64),
        camera="test",
        fingerprint="test",
    )


@pytest.fixture
def bank() -> PsfBank:
    return random_bank()


def _lerp(nodes, place):
    """Index before `place`, and how far beyond it, in float64."""
    place = min(max(place, nodes[0]), nodes[-1])
    i = min(int(np.searchsorted(nodes, place, side="right")) - 1, len(nodes) - 2)
    return i, (place - nodes[i]) / (nodes[i + 1] - nodes[i])


def _direct(bank: PsfBank, layers: list[Layer]) -> np.ndarray:
    """Per-pixel sum in float64: each source pixel adds its own trilinearly interpolated kernel."""
    kernels, illumination = (
        bank.kernels.double().numpy(),
        bank.relative_illumination.double().numpy(),
    )
    planes, rows, cols = (
        t.numpy() for t in (bank.inverse_distance_dpt, bank.field_y_px, bank.field_x_px)
    )
    r, (height, width) = bank.radius_px, bank.size_px
    picture = np.zeros((3, height, width))
    for layer in layers:
        light = np.zeros((3, height + 4 * r, width + 4 * r))
        mask = np.zeros_like(light)
        rgb = layer.rgb.double().numpy()
        alpha = np.ones(rgb.shape[1:]) if layer.alpha is None else layer.alpha.double().numpy()
        distance = torch.as_tensor(layer.distance_m).double().expand(alpha.shape).numpy()
        for y, x in np.argwhere(alpha > 0):
            i, a = _lerp(planes, 1.0 / distance[y, x])
            j, b = _lerp(rows, y - r + 0.5)
            k, c = _lerp(cols, x - r + 0.5)
            weights = np.einsum("i,j,k->ijk", [1 - a, a], [1 - b, b], [1 - c, c])
            here = np.s_[i : i + 2, j : j + 2, k : k + 2]
            kernel = np.einsum("ijk,ijkcuv->cuv", weights, kernels[here])
            spread = np.s_[:, y : y + 2 * r + 1, x : x + 2 * r + 1]
            mask[spread] += alpha[y, x] * kernel
            dimming = (weights * illumination[here]).sum()
            light[spread] += (alpha[y, x] * dimming * rgb[:, y, x])[:, None, None] * kernel
        inner = np.s_[:, 2 * r : 2 * r + height, 2 * r : 2 * r + width]
        picture = picture * (1.0 - mask[inner]) + light[inner]
    return picture


def _canvas(bank: PsfBank) -> tuple[int, int]:
    return tuple(size + 2 * bank.radius_px for size in bank.size_px)


def _picture(bank: PsfBank, seed: int) -> torch.Tensor:
    return torch.rand(3, *_canvas(bank), generator=torch.Generator().manual_seed(seed))


def _slant(bank: PsfBank, near_m: float, far_m: float) -> torch.Tensor:
    """Distance linear in inverse distance over the diagonal of the image."""
    rows, cols = (torch.linspace(0, 0.5, n) for n in _canvas(bank))
    inverse = 1 / far_m + (rows[:, None] + cols[None]) * (1 / near_m - 1 / far_m)
    return 1.0 / inverse


def _disc(bank: PsfBank, top: float, left: float, radius: float) -> torch.Tensor:
    rows, cols = (torch.arange(float(n)) for n in _canvas(bank))
    return (radius - torch.hypot(rows[:, None] - top, cols[None] - left)).clamp(0, 1)


def _assert_equal(bank: PsfBank, layers: list[Layer]) -> None:
    expected = _direct(bank, layers)
    error = np.abs(render(bank, layers).numpy() - expected).max() / expected.max()
    assert error <= 1e-5


@pytest.mark.parametrize("distance_m", [1 / 1.4, 0.9, 2.0, 5.0])
def test_flat_layer_equals_direct_sum(bank, distance_m):
    _assert_equal(bank, [Layer(_picture(bank, 1), None, distance_m)])


def test_slanted_layer_equals_direct_sum(bank):
    _assert_equal(bank, [Layer(_picture(bank, 2), None, _slant(bank, 0.75, 4.9))])


def test_map_of_one_distance_equals_number(bank):
    rgb = _picture(bank, 3)
    as_map = render(bank, [Layer(rgb, None, torch.full(_canvas(bank), 1.1))])
    torch.testing.assert_close(as_map, render(bank, [Layer(rgb, None, 1.1)]), rtol=0, atol=1e-6)


def test_layers_equal_direct_sum(bank):
    nowhere = torch.full(_canvas(bank), torch.nan)
    disc = _disc(bank, 12, 30, 9)
    slanted = torch.where(disc > 0, _slant(bank, 0.8, 1.6), nowhere)
    layers = [
        Layer(_picture(bank, 4), None, _slant(bank, 2.5, 5.0)),
        Layer(_picture(bank, 5), disc, slanted),
        Layer(_picture(bank, 6), 0.5 * _disc(bank, 22, 3, 7), 0.9),
        Layer(_picture(bank, 7), _disc(bank, -1, 20, 6), 0.72),
    ]
    _assert_equal(bank, layers)


def test_opaque_layer_hides_what_is_behind(disc_bank):
    front = Layer(_picture(disc_bank, 8), None, 1.0)
    both = render(disc_bank, [Layer(_picture(disc_bank, 9), None, 3.0), front])
    torch.testing.assert_close(both, render(disc_bank, [front]), rtol=0, atol=1e-5)


def test_single_point_becomes_its_kernel(bank):
    r, (y, x) = bank.radius_px, (12, 20)
    rgb = torch.zeros(3, *_canvas(bank))
    rgb[:, y + r, x + r] = 1.0
    plane = 2
    image = render(bank, [Layer(rgb, None, float(bank.distances_m[plane]))]).numpy()
    expected = _direct(bank, [Layer(rgb, None, float(bank.distances_m[plane]))])
    np.testing.assert_allclose(image, expected, atol=1e-6)
    assert image[:, y - r : y + r + 1, x - r : x + r + 1].sum() == pytest.approx(
        image.sum(), rel=1e-6
    )


def test_transparent_layer_changes_nothing(bank):
    back = Layer(_picture(bank, 10), None, 2.0)
    empty = Layer(_picture(bank, 11), torch.zeros(_canvas(bank)), torch.nan)
    assert torch.equal(render(bank, [back, empty]), render(bank, [back]))


@pytest.mark.parametrize("distance_m", [0.5, 0.0, float("nan"), 50.0])
def test_distance_outside_the_bank_is_refused(bank, distance_m):
    with pytest.raises(CaptureError, match=r"0\.7143 to 5 m"):
        render(bank, [Layer(_picture(bank, 12), None, distance_m)])


def test_wrong_canvas_is_refused(bank):
    with pytest.raises(CaptureError, match="shape"):
        render(bank, [Layer(torch.zeros(3, *bank.size_px), None, 1.0)])


def _pad(bank: PsfBank, image: torch.Tensor) -> torch.Tensor:
    return torch.nn.functional.pad(image[None], (bank.radius_px,) * 4, mode="replicate")[0]


def test_rgbd_of_one_distance_equals_flat_layer(disc_bank):
    rgb = torch.rand(3, *disc_bank.size_px, generator=torch.Generator().manual_seed(13))
    image = render_rgbd(disc_bank, rgb, torch.full(disc_bank.size_px, 1.3))
    flat = render(disc_bank, [Layer(_pad(disc_bank, rgb), None, 1.3)])
    torch.testing.assert_close(image, flat, rtol=0, atol=1e-5)


def test_rgbd_of_a_slanted_plane_equals_its_layer(disc_bank):
    height, width = disc_bank.size_px
    rgb = torch.rand(3, height, width, generator=torch.Generator().manual_seed(14))
    distance = 1.0 / torch.linspace(0.3, 0.9, width).expand(height, width)
    wide = _pad(disc_bank, distance[None])[0]
    layer = render(disc_bank, [Layer(_pad(disc_bank, rgb), None, wide)])
    error = (render_rgbd(disc_bank, rgb, distance) - layer).square().mean().sqrt()
    assert error < 0.01 * layer.mean()


def test_rgbd_occlusion_is_near_that_of_known_layers(disc_bank):
    height, width = disc_bank.size_px
    back, front = (torch.nn.functional.interpolate(
        torch.rand(1, 3, height // 8, width // 8, generator=torch.Generator().manual_seed(seed)),
        size=(height, width), mode="bilinear")[0] for seed in (15, 16))  # fmt: skip
    near = torch.zeros(height, width)
    near[:, width // 2 :] = 1.0
    truth = render(disc_bank, [
        Layer(_pad(disc_bank, back), None, 4.0),
        Layer(_pad(disc_bank, front), _pad(disc_bank, near[None])[0], 0.8),
    ])  # fmt: skip
    image = render_rgbd(
        disc_bank, torch.where(near > 0, front, back), torch.where(near > 0, 0.8, 4.0)
    )
    error = (image - truth).abs()
    assert error[:, :, : width // 2 - 16].max() < 1e-5
    assert error[:, :, width // 2 + 16 :].max() < 1e-5
    band = np.s_[:, :, width // 2 - 8 : width // 2 + 8]
    assert error[band].square().mean().sqrt() < 0.07 * truth[band].mean()


def test_a_focus_farther_away_blurs_as_nearer_things_do(disc_bank):
    moved = refocused(disc_bank, 1.0, 0.1)
    assert moved == pytest.approx(1 / 1.1)
    torch.testing.assert_close(
        refocused(disc_bank, torch.tensor([1.0, 2.0]), -0.1), 1 / torch.tensor([0.9, 0.4])
    )
    assert refocused(disc_bank, 5.0, -0.1) == pytest.approx(5.0)  # the end of the bank
    assert refocused(disc_bank, 1.0, 0.0) == 1.0
