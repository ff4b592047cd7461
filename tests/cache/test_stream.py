"""Images of any size swept into a file."""

import subprocess
import sys

import numpy as np
import pytest
import torch

from rangefinder.cache.stream import sweep_to_file
from rangefinder.cache.sweep import Sweep
from rangefinder.cache.tiles import NpyImage
from rangefinder.camera import Camera
from rangefinder.config import CacheParams, PredictionParams, TeacherParams
from rangefinder.errors import CaptureError
from rangefinder.location import Placement
from rangefinder.models.prediction import Prediction
from rangefinder.models.teacher import Teacher

CAMERA = Camera(width_px=160, height_px=120)
BINS = 12


@pytest.fixture
def sweep():
    torch.manual_seed(3)
    params = TeacherParams(stem_channels=(8, 12), channels=16, blocks=2, stem_blocks=1)
    network = Teacher(params, BINS)
    for parameter in network.parameters():
        parameter.data += 0.1 * torch.randn_like(parameter)
    return Sweep(network, CAMERA, CacheParams(tile_px=64), network.patch_px, 4)


@pytest.fixture
def image():
    return torch.rand(3, 117, 150, generator=torch.Generator().manual_seed(1))


def test_the_file_holds_what_a_sweep_in_memory_gives(sweep, image, tmp_path):
    np.save(tmp_path / "image.npy", image.numpy())
    grid = sweep_to_file(
        sweep, NpyImage(tmp_path / "image.npy"), Placement((2.0, 3.0)), tmp_path / "o.npy"
    )
    stored = np.load(tmp_path / "o.npy")
    assert stored.shape == (grid.rows, grid.cols, BINS)
    np.testing.assert_allclose(stored, sweep(image, Placement((2, 3))), atol=1e-6)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["image.npy", "o.npy"]


def test_packed_predictions_of_16_bit_integers(sweep, image, tmp_path):
    counts = (image * 65535).round()
    np.save(tmp_path / "image.npy", counts.numpy().astype(np.uint16))
    mapped = np.load(tmp_path / "image.npy", mmap_mode="r")
    prediction = Prediction(PredictionParams(bins=BINS))
    sweep_to_file(sweep, mapped, Placement(), tmp_path / "out.npy", prediction.pack)
    stored = torch.from_numpy(np.load(tmp_path / "out.npy"))
    assert stored.dtype == torch.uint8
    wanted = prediction.pack(sweep(counts / 65535, Placement()))
    assert stored.shape == wanted.shape
    assert (stored != wanted).float().mean() < 0.001


def test_an_interrupted_sweep_leaves_no_file_of_that_name(sweep, image, tmp_path):
    class Torn:
        shape = image.shape

        def __getitem__(self, index):
            if index[1].start > 40:
                raise OSError("cable pulled")
            return image[index]

    (tmp_path / "out.npy.partial").write_bytes(b"of an earlier try")
    with pytest.raises(OSError, match="cable"):
        sweep_to_file(sweep, Torn(), Placement(), tmp_path / "out.npy")
    assert not (tmp_path / "out.npy").exists()


def test_channels_last_are_refused(sweep, image, tmp_path):
    with pytest.raises(CaptureError, match="another layout"):
        sweep_to_file(sweep, image.movedim(0, -1), Placement(), tmp_path / "out.npy")


SCRIPT = """
import resource, sys
from pathlib import Path
import numpy as np
from rangefinder.cache.stream import sweep_to_file
from rangefinder.cache.sweep import Sweep
from rangefinder.cache.tiles import NpyImage
from rangefinder.camera import Camera
from rangefinder.config import CacheParams, ComputeParams, TeacherParams
from rangefinder.location import Placement
from rangefinder.models.teacher import Teacher

folder, height, width, tile_px = Path(sys.argv[1]), *map(int, sys.argv[2:])
file = folder / "image.npy"
image = np.lib.format.open_memmap(file, "w+", np.uint16, (3, height, width))
del image
network = Teacher(TeacherParams(), 48)
camera = Camera(width_px=width, height_px=height)
compute = ComputeParams(device="cpu")
params = CacheParams(tile_px=tile_px)
sweep = Sweep(network, camera, params, network.patch_px, 4, compute)
sweep_to_file(sweep, NpyImage(file), Placement(), folder / "out.npy")
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024)
"""


@pytest.mark.slow
def test_memory_does_not_grow_with_the_image(tmp_path):
    def peak_bytes(*sizes_px):
        command = [sys.executable, "-c", SCRIPT, str(tmp_path), *map(str, sizes_px)]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        return int(done.stdout)

    # Tiles small enough to be of about one size in both images.
    small, large = peak_bytes(800, 1250, 384), peak_bytes(3200, 5000, 384)
    output_bytes = (tmp_path / "out.npy").stat().st_size
    assert output_bytes > 180e6
    assert large - small < 0.5 * output_bytes
    assert peak_bytes(3200, 5000, CacheParams().tile_px) < 1.2e9
