"""Finding a trained model: in a folder, or in what MLflow keeps."""

import shutil

import pytest

from rangefinder.errors import ModelError
from rangefinder.models.model_files import load_model
from rangefinder.tracking.registry import find_model


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
