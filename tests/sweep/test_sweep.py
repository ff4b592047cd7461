"""The sweep: dense where checked to equal the patch loop, by loop otherwise."""

import pytest
import torch
from torch import nn

from rangefinder.camera import Camera
from rangefinder.config import CacheParams, TeacherParams
from rangefinder.coordinates import Placement
from rangefinder.errors import CaptureError
from rangefinder.models.teacher import Teacher
from rangefinder.sweep.sweep import Sweep

CAMERA = Camera(width_px=96, height_px=72)
PARAMS = CacheParams(patch_batch=50, check_patches=40)


def teacher_sweep(network=None, patch_px=None, stride_px=None):
    torch.manual_seed(3)
    if network is None:
        network = Teacher(
            TeacherParams(stem_channels=(8, 12), channels=16, blocks=2, stem_blocks=1), 12
        )
        for parameter in network.parameters():
            parameter.data += 0.1 * torch.randn_like(parameter)
    patch_px = patch_px or network.patch_px
    return Sweep(network, CAMERA, PARAMS, patch_px, stride_px or network.stride_px)


@pytest.mark.parametrize(("height", "width"), [(72, 96), (71, 93), (25, 25), (26, 40)])
def test_the_dense_pass_equals_the_loop_over_every_patch(height, width):
    sweep, image = teacher_sweep(), torch.rand(3, height, width)
    dense = sweep.dense_pass(image, Placement((8.0, 4.0)))
    loop = sweep.patch_loop(image, Placement((8.0, 4.0)))
    torch.testing.assert_close(dense, loop, atol=1e-5, rtol=0)
    assert sweep(image, Placement()).shape == dense.shape
    assert sweep.dense


class PaddedTeacher(nn.Module):
    """Pads, so that its receptive field in a dense pass exceeds the patch."""

    def __init__(self):
        super().__init__()
        self.net = nn.Sequential(nn.Conv2d(3, 12, 9, stride=4, padding=4))

    def forward(self, image, location):
        return self.net(image)[:, :, : location.shape[2], : location.shape[3]]


class PooledTeacher(nn.Module):
    """An ordinary classifier: one output for an input of any size."""

    def __init__(self):
        super().__init__()
        self.conv, self.head = nn.Conv2d(3, 8, 3), nn.Linear(10, 12)

    def forward(self, image, location):
        features = torch.cat([self.conv(image).mean((2, 3)), location.mean((2, 3))], 1)
        return self.head(features)[:, :, None, None]


class NormalisedTeacher(nn.Module):
    """Normalises each patch by itself, so that a dense pass sees another picture."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 12, 9, stride=4)

    def forward(self, image, location):
        return self.conv(image / image.mean((1, 2, 3), keepdim=True))


@pytest.mark.parametrize("network", [PaddedTeacher(), PooledTeacher(), NormalisedTeacher()])
def test_a_network_that_is_not_dense_is_swept_patch_by_patch(network):
    sweep, image = teacher_sweep(network, patch_px=9, stride_px=4), torch.rand(3, 40, 52)
    result = sweep(image, Placement())
    assert sweep.dense is False
    torch.testing.assert_close(result, sweep.patch_loop(image, Placement()))
    assert result.shape == (8, 11, 12)


def test_location_is_that_of_the_patch_centre():
    class LocationOutput(nn.Module):
        def forward(self, image, location):
            return torch.cat([location, -location], 1)

    sweep = teacher_sweep(LocationOutput(), patch_px=9, stride_px=4)
    logits = sweep.patch_loop(torch.rand(3, 72, 96), Placement()).log()
    x_minus_y = (logits[..., 0] - logits[..., 1]) * CAMERA.half_diagonal_px
    torch.testing.assert_close(x_minus_y[0, 0].item(), (4.5 - 48) - (4.5 - 36), atol=1e-3, rtol=0)
    torch.testing.assert_close(x_minus_y[3, 5].item(), (24.5 - 48) - (16.5 - 36), atol=1e-3, rtol=0)


def test_an_image_smaller_than_a_patch_is_refused():
    with pytest.raises(CaptureError, match="smaller than one patch"):
        teacher_sweep()(torch.rand(3, 24, 96), Placement())
