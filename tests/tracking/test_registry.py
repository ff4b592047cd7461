"""Finding a trained model: in a folder, or in what MLflow keeps."""

import base64
import shutil
import subprocess
import sys

import pytest

from rangefinder.errors import ModelError
from rangefinder.models.model_files import load_model
from rangefinder.tracking.registry import _NEEDS, find_model

from ..conftest import clean_environment


def test_a_model_is_found_by_folder_by_file_and_inside_an_mlflow_download(model_folder, tmp_path):
    model = shutil.copytree(model_folder / "student", tmp_path / "student")
    expected = load_model(model).fingerprint
    assert find_model(str(model)).fingerprint == expected
    assert find_model(str(model / "weights.safetensors")).fingerprint == expected
    shutil.copytree(model, tmp_path / "kept/data/student")
    assert find_model(str(tmp_path / "kept")).fingerprint == expected
    with pytest.raises(ModelError, match="nothing there"):
        find_model(str(tmp_path / "none"))
    with pytest.raises(ModelError, match=r"no card\.json"):
        find_model(str(tmp_path))


IN_ITS_ENVIRONMENT = """
import sys
from importlib.metadata import PackageNotFoundError, packages_distributions, requires
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

folder, *waiting = sys.argv[1:]
waiting, photos = waiting[:-3], waiting[-3:]
installed = set()
while waiting:
    name = canonicalize_name(waiting.pop())
    if name not in installed:
        installed.add(name)
        try:
            stated = [Requirement(text) for text in requires(name) or []]
        except PackageNotFoundError:  # of another platform
            continue
        waiting += [r.name for r in stated if not r.marker or r.marker.evaluate({"extra": ""})]
for module, packages in packages_distributions().items():
    if module != "rangefinder" and not installed & set(map(canonicalize_name, packages)):
        sys.modules[module] = None  # an import of it fails
from rangefinder.serving.pyfunc import _load_pyfunc
import numpy as np
import pandas as pd

model = _load_pyfunc(folder)
maps = model.predict(np.zeros((1, 3, 48, 64), np.float32), {"scale": 1.5})
print(maps["distance_m"].shape)
rows = pd.DataFrame({"photo": photos, "name": ["a.tif", "b.png", "c.jpg"]})
print(len(model.predict(rows)))
"""


@pytest.mark.parametrize("kind", ["teacher", "student"])
def test_a_registered_model_predicts_with_nothing_but_its_requirements(
    model_folder, photo_folder, kind
):
    files = sorted(photo_folder.iterdir())
    photos = [base64.b64encode(path.read_bytes()).decode() for path in files]
    command = [sys.executable, "-c", IN_ITS_ENVIRONMENT, model_folder / kind, *_NEEDS, *photos]
    done = subprocess.run(command, capture_output=True, text=True, env=clean_environment())
    assert done.stdout == "(1, 48, 64)\n3\n", done.stderr
