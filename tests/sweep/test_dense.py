"""At any stride and size, in tiles or untiled, a sweep has the numbers of the patch loop."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from rangefinder.camera import Camera
from rangefinder.config import CacheParams, TeacherParams
from rangefinder.coordinates import PatchGrid, Placement
from rangefinder.errors import CaptureError, ModelError
from rangefinder.models.teacher import Teacher
from rangefinder.sweep.dense import passes, tiles_of
from rangefinder.sweep.sweep import Sweep

CAMERA = Camera(width_px=96, height_px=72)
PLACEMENT = Placement((8.0, 4.0), 0.5)


@pytest.fixture(scope="module")
def network():
    """Sharp posteriors that differ from place to place, so that errors show."""
    torch.manual_seed(3)
    params = TeacherParams(stem_channels=(8, 12), channels=16, blocks=2, stem_blocks=1)
    teacher = Teacher(params, 12)
    for parameter in teacher.parameters():
        parameter.data += 0.1 * torch.randn_like(parameter)
    teacher.head.weight.data *= 3
    return teacher


def sweep_of(network, stride_px, **changes):
    params = CacheParams(check_patches=40, **changes)
    return Sweep(network, CAMERA, params, network.patch_px, stride_px)


@pytest.mark.parametrize("stride_px", [1, 2, 3, 4, 5, 6, 8, 12, 25, 30])
@pytest.mark.parametrize(("height", "width"), [(47, 58), (25, 25), (26, 29)])
def test_every_stride_equals_the_patch_loop(network, stride_px, height, width):
    sweep, image = sweep_of(network, stride_px), torch.rand(3, height, width)
    dense, loop = (run(image, PLACEMENT) for run in (sweep.dense_pass, sweep.patch_loop))
    assert dense.shape == loop.shape
    torch.testing.assert_close(dense, loop, atol=1e-5, rtol=0)
    assert len(loop) == 1 or loop.flatten(0, 1).std(0).max() > 1e-3
    assert sweep.largest_difference(image, PLACEMENT) <= 1e-5


@pytest.mark.parametrize("stride_px", [1, 3, 4])
def test_tiles_make_no_difference(network, stride_px):
    image = torch.rand(3, 117, 134)
    tiled = sweep_of(network, stride_px, tile_px=64)
    untiled = sweep_of(network, stride_px, tile_px=1024)
    assert len(list(tiles_of(tiled.grid(image), 64))) > 4
    assert len(list(tiles_of(untiled.grid(image), 1024))) == 1
    one, other = (sweep(image, PLACEMENT) for sweep in (tiled, untiled))
    assert tiled.dense
    torch.testing.assert_close(one, other, atol=1e-6, rtol=0)


@pytest.mark.parametrize("stride_px", [1, 3, 8])
def test_smaller_than_a_patch_is_refused_at_any_stride(network, stride_px):
    with pytest.raises(CaptureError, match="smaller than one patch"):
        sweep_of(network, stride_px)(torch.rand(3, 24, 96), Placement())


def test_passes_of_a_stride_below_and_above_the_native_one():
    assert passes(1, 4) == (4, 1)
    assert passes(2, 4) == (2, 1)
    assert passes(4, 4) == (1, 1)
    assert passes(12, 4) == (1, 3)
    assert passes(6, 4) == (2, 3)


def test_the_loop_runs_where_a_dense_pass_keeps_few_of_its_outputs(network):
    image, calls = torch.rand(3, 130, 150), {}
    for stride_px in (4, 8, 31):
        sweep = sweep_of(network, stride_px)
        sizes = calls[stride_px] = []
        sweep(image, PLACEMENT)
        sweep.network.register_forward_pre_hook(
            lambda module, inputs, sizes=sizes: sizes.append(inputs[0].shape[-1])
        )
        sweep(image, PLACEMENT)
    patch = network.patch_px
    assert min(calls[4]) > patch
    assert min(calls[8]) > patch
    assert set(calls[31]) == {patch}


def test_another_lattice_is_an_error_of_the_dense_pass(network):
    class Cropped(Teacher):
        def forward(self, image, location):
            return super().forward(image, location)[:, :, 1:]

    cropped = Cropped(network.params, 12)
    sweep = Sweep(cropped, CAMERA, CacheParams(), cropped.patch_px, 4)
    with pytest.raises(ModelError, match="another lattice"):
        sweep.dense_pass(torch.rand(3, 47, 58), PLACEMENT)


@given(
    st.integers(1, 40), st.integers(1, 9), st.integers(0, 90), st.integers(0, 90),
    st.integers(1, 100),
)  # fmt: skip
def test_tiles_cover_every_patch_once_with_all_its_pixels(patch, stride, down, right, side):
    grid = PatchGrid(patch + down, patch + right, patch, stride)
    seen = torch.zeros(grid.rows, grid.cols, dtype=torch.int32)
    for tile in tiles_of(grid, side):
        seen[tile.rows, tile.cols] += 1
        height, width = (pixels.stop - pixels.start for pixels in (tile.y_px, tile.x_px))
        inside = PatchGrid(height, width, patch, stride)
        part = seen[tile.rows, tile.cols]
        assert (inside.rows, inside.cols) == part.shape
        assert (tile.y_px.start, tile.x_px.start) == (
            tile.rows.start * stride,
            tile.cols.start * stride,
        )
        assert max(height, width) <= max(side, patch)
    assert bool((seen == 1).all())


@given(st.integers(1, 64), st.integers(1, 16))
def test_shifts_and_kept_outputs_land_on_the_grid(stride, native):
    shifts, keep = passes(stride, native)
    assert shifts * stride == keep * native == math.lcm(stride, native)
