"""The same training on a GPU, where there is one."""

import pytest
import torch

from rangefinder.cache.fill import fill_cache
from rangefinder.coordinates import PatchGrid
from rangefinder.models.distribution import DistanceDistribution
from rangefinder.sweep.sweep import Sweep
from rangefinder.training.assembly import Distillation, train_teacher
from rangefinder.training.targets import DistillationTargets

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device")


@pytest.fixture(scope="module")
def on_gpu(params):
    compute = params.compute.model_copy(update={"device": "cuda"})
    return params.model_copy(update={"compute": compute})


@pytest.fixture(scope="module")
def teacher(captures, on_gpu, tmp_path_factory):
    return train_teacher(captures, on_gpu, tmp_path_factory.mktemp("ckpt") / "teacher", None)


def test_a_sweep_on_the_gpu_equals_that_on_the_cpu(captures, params, on_gpu, teacher):
    card = teacher.card
    found = []
    for compute in (params.compute, on_gpu.compute):
        exact = params.cache.model_copy(update={"gpu_tolerance": 0.0})
        grid = card.patch_px, card.stride_px
        sweep = Sweep(teacher.network, captures.camera, exact, *grid, compute)
        found.append(sweep(captures.image(0), captures.placement(0)))
        assert sweep.dense
    torch.testing.assert_close(*found, rtol=0, atol=1e-5)


def test_distillation_targets_on_the_gpu_equal_those_on_the_cpu(captures, params):
    distribution = DistanceDistribution(params.prediction)
    image = captures.image(0)
    grid = PatchGrid(image.shape[1], image.shape[2], 25, 4)
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(grid.rows, grid.cols, distribution.bins, generator=generator)
    probs = torch.softmax(3 * logits, -1)
    packed = distribution.pack(probs)
    found = [
        DistillationTargets(
            lambda _: packed, distribution, params.student.target_aggregation, device
        )("a", lambda: image, grid)
        for device in ("cpu", "cuda")
    ]
    (targets, negentropy), (targets_gpu, negentropy_gpu) = found
    torch.testing.assert_close(negentropy_gpu, negentropy)
    near = distribution.unpack(targets_gpu) - distribution.unpack(targets)
    assert float(near.abs().max()) < 0.05  # a code rounded the other way


def test_a_student_is_distilled(captures, on_gpu, teacher, tmp_path):
    cache = fill_cache(teacher, captures, on_gpu.cache, tmp_path / "cache", compute=on_gpu.compute)
    student = Distillation(captures, teacher, cache, on_gpu, tmp_path / "student").distil()
    assert student.card.cache == cache.fingerprint
    assert all(torch.isfinite(value).all() for value in student.network.state_dict().values())
