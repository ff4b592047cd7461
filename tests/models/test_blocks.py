"""Building blocks: encodings, resampling, projections, and fused copies for inference."""

import pytest
import torch

from rangefinder.coordinates import PatchGrid
from rangefinder.models.blocks import Lattice, Projection, anscombe, fused, resample
from rangefinder.models.student import Student, full_frame
from rangefinder.models.teacher import Teacher

from .networks import small_student, small_teacher


def test_the_anscombe_transform_stabilises_photon_noise():
    light = torch.tensor([0.1, 0.4, 0.9])[None, :, None, None].expand(1, 3, 200, 200)
    photons = torch.poisson(light * 10000, generator=torch.Generator().manual_seed(2))
    sd = anscombe(photons / 10000)[0].flatten(1).std(dim=1)
    torch.testing.assert_close(sd, sd.mean().expand(3), rtol=0.03, atol=0)


@pytest.mark.parametrize("build", [small_teacher, small_student])
def test_a_fused_copy_agrees(build):
    torch.manual_seed(5)
    network = build()
    grid = PatchGrid(72, 96, 25, 4)
    size = (grid.rows, grid.cols) if isinstance(network, Teacher) else (72, 96)
    inputs = torch.rand(2, 3, 72, 96), torch.rand(2, 2, *size)
    with torch.inference_mode():
        copy, original = (net(*inputs).softmax(1) for net in (fused(network), network))
    torch.testing.assert_close(copy, original, atol=1e-5, rtol=0)


def test_a_fused_copy_follows_a_change_of_location():
    network = small_student().eval()
    for parameter in network.parameters():
        parameter.data += 0.1 * torch.randn_like(parameter)
    copy, image = fused(network), torch.rand(1, 3, 72, 96)
    here, there = torch.rand(2, 1, 2, 72, 96)
    with torch.inference_mode():
        expected = {}
        for name, location in (("here", here), ("there", there), ("here again", here)):
            expected[name] = network(image, location).softmax(1)
            found = copy(image, location).softmax(1)
            torch.testing.assert_close(found, expected[name], atol=1e-5, rtol=0)
    assert (expected["here"] - expected["there"]).abs().max() > 1e-3


def test_resampling_reproduces_a_linear_ramp_and_extends_its_ends():
    lattice = Lattice(first_px=2.5, stride_px=4)
    ramp = (2.5 + 4 * torch.arange(6))[None, None, :, None].expand(1, 1, 6, 5)
    expected = torch.tensor([0.0, 2.5, 3.7, 11.0, 22.5, 40.0])
    values = resample(ramp, lattice, expected, torch.tensor([8.0]))[0, 0, :, 0]
    torch.testing.assert_close(values, expected.clamp(2.5, 22.5))


def test_resampling_at_lattice_positions_is_a_view():
    lattice, values = Lattice(first_px=0.5, stride_px=4), torch.rand(2, 3, 6, 5)
    positions = 0.5 + 4 * torch.arange(6)
    inside = resample(values, lattice, positions[1:5], positions[:5])
    assert inside.untyped_storage().data_ptr() == values.untyped_storage().data_ptr()
    torch.testing.assert_close(inside, values[:, :, 1:5], atol=0, rtol=0)
    every_other = resample(values, lattice, positions[::2], positions[[4, 0]])
    torch.testing.assert_close(every_other, values[:, :, ::2][..., [4, 0]], atol=0, rtol=0)


@pytest.mark.parametrize(("height", "width"), [(48, 64), (45, 61), (1, 3)])
def test_full_frame_equals_resampling(height, width):
    cells = torch.rand(2, -(-height // 4), -(-width // 4))
    y, x = torch.arange(height) + 0.5, torch.arange(width) + 0.5
    expected = resample(cells[None], Student.lattice, y, x)[0]
    torch.testing.assert_close(full_frame(cells, height, width), expected)


@pytest.mark.parametrize("channels", [5, 16, 20])
def test_a_projection_is_initialised_from_the_strongest_channels_of_another(channels):
    generator = torch.Generator().manual_seed(0)
    source, target = Projection(10, 16), Projection(6, channels)
    for norm in (source.norm, source.conv.norm):
        for values in norm.state_dict().values():
            if values.ndim:
                values.copy_(0.5 + torch.rand(values.shape, generator=generator))
    x = torch.rand(2, 6, 3, 3, generator=generator)
    target.initialise_from(source)
    source.conv.conv.weight.data[:, :4] = 0
    expected = source.eval()([torch.rand(2, 4, 3, 3), x])
    strength = source.conv.conv.weight.abs().sum((1, 2, 3))
    taken = strength.argsort(descending=True)[:channels]
    torch.testing.assert_close(target.eval()([x])[:, : len(taken)], expected[:, taken])
