"""A file alone, in an environment without this package: the metres of `measure`, and the size."""

import re
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

import rangefinder
from rangefinder.inference.predictor import Predictor
from rangefinder.inference.session import Session

from ..conftest import ROOT
from ..tiny_camera import random_pixels

PACKAGES = ("onnxruntime", "numpy", "pillow")
PRINT_ALL = "\nnp.save('maps.npy', np.stack([distance_m[0], near_m[0, 0], far_m[0, 0]]))\n"


@pytest.fixture(scope="session")
def bare(tmp_path_factory):
    """Python of an environment that has only what the documentation names."""
    folder = tmp_path_factory.mktemp("bare")
    subprocess.run([sys.executable, "-m", "venv", folder], check=True)
    python = folder / "bin/python"
    install = [python, "-m", "pip", "install", "--quiet", *PACKAGES]
    done = subprocess.run(install, capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"packages cannot be installed here: {done.stderr[-200:]}")
    return python


@pytest.mark.slow
def test_a_photo_has_the_metres_of_measure(bare, exported, tmp_path):
    Image.fromarray(random_pixels(seed=6)).save(tmp_path / "photo.png")
    (tmp_path / "model.onnx").write_bytes(exported.path.read_bytes())
    page = (ROOT / "docs/deploy.md").read_text(encoding="utf-8")
    (example,) = re.findall(r"^```python$(.*?onnxruntime.*?)^```$", page, re.MULTILINE | re.DOTALL)
    (tmp_path / "example.py").write_text(example + PRINT_ALL)
    command = [bare, "-I", "example.py"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)
    assert re.match(r"\d+\.\d\d m \(\d+\.\d\d to \d+\.\d\d m\)", done.stdout)
    found = np.load(tmp_path / "maps.npy")
    exact = Session(Predictor(exported.model, "cpu", exact=True))
    for session in (rangefinder.load_model(str(exported.path)), exact):
        measured = session.measure(tmp_path / "photo.png")
        expected = np.stack([measured.distance_m, *measured.interval_m()])
        assert np.quantile(np.abs(found / expected - 1), 0.99) < 1e-4


@pytest.mark.slow
def test_the_environment_is_as_small_as_the_documentation_says(bare):
    page = (ROOT / "docs/deploy.md").read_text(encoding="utf-8")
    (stated_mb,) = re.findall(rf"^\| `{' '.join(PACKAGES)}`.*\| (\d+) MB \|$", page, re.MULTILINE)
    site = next((bare.parents[1] / "lib").glob("python*/site-packages"))
    names = ("pip", "setuptools", "__pycache__")
    files = (p for p in site.rglob("*") if not p.is_symlink() and p.is_file())
    kept = [p for p in files if not any(part.startswith(names) for part in p.parts)]
    size_mb = sum(path.stat().st_size for path in kept) / 1e6
    assert size_mb < 1.25 * int(stated_mb)  # packages grow with their versions
