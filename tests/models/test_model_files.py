"""Model files: weights and card belong together, and nothing else is read."""

import json
import pickle
import shutil

import pytest
import torch
from safetensors.torch import load_file, save_file

from rangefinder.errors import ModelError
from rangefinder.models.model_files import load_model, save_model

from ..tiny_camera import make_model


@pytest.fixture
def model(model_folder, tmp_path):
    """Folder of a student."""
    return shutil.copytree(model_folder / "student", tmp_path / "student")


@pytest.mark.parametrize("save", ["pickle", "torch"])
def test_a_pickle_is_refused_unread(model, save):
    path = model / "weights.safetensors"
    if save == "torch":
        torch.save({"x": torch.zeros(2)}, path)
    else:
        path.write_bytes(pickle.dumps({"x": 1}))
    with pytest.raises(ModelError, match="pickle"):
        load_model(model)


def test_tampered_card_is_refused(model):
    card = json.loads((model / "card.json").read_text())
    card["prediction"]["inverse_range_dpt"] = [0.2, 2.0]
    (model / "card.json").write_text(json.dumps(card))
    with pytest.raises(ModelError, match="changed after training"):
        load_model(model)


def test_weights_of_another_architecture_are_refused_in_one_line(tmp_path):
    model = make_model("student")
    del model.network.boundaries.residual4
    save_model(tmp_path, model)
    with pytest.raises(ModelError, match="Another version of Rangefinder") as refusal:
        load_model(tmp_path)
    assert len(str(refusal.value)) < 500


@pytest.mark.parametrize("found", [None, 1, 2])
def test_a_card_of_another_format_is_refused(model, found):
    card = json.loads((model / "card.json").read_text())
    del card["format"]
    (model / "card.json").write_text(json.dumps(card | ({"format": found} if found else {})))
    with pytest.raises(ModelError, match=f"found {found or 1}; expected 3.*Train it again"):
        load_model(model)


def test_card_may_be_written_in_another_layout(model):
    card = json.loads((model / "card.json").read_text())
    (model / "card.json").write_text(json.dumps(dict(reversed(card.items()))))
    load_model(model)


def test_weights_without_the_hash_of_their_card_are_refused(model):
    import hashlib

    path = model / "weights.safetensors"
    save_file(load_file(path), path)
    card = json.loads((model / "card.json").read_text())
    card["weights_sha256"] = hashlib.sha256(path.read_bytes()).hexdigest()
    (model / "card.json").write_text(json.dumps(card))
    with pytest.raises(ModelError, match="changed after training"):
        load_model(model)
