"""A model as a program of torch gives the metres of the predictor."""

import json

import numpy as np
import pytest
import torch
from click.testing import CliRunner

from rangefinder.commands import main
from rangefinder.coordinates import Placement
from rangefinder.inference.interface import Outputs
from rangefinder.inference.predictor import Predictor
from rangefinder.serving.export import OUTPUTS
from rangefinder.serving.export_program import INPUTS, METADATA, ProgramPredictor

from ..conftest import ROOT


@pytest.mark.slow
def test_program_by_the_command_measures_photos_of_any_size(exported, tmp_path):
    path = tmp_path / "model.pt2"
    options = ["export", "--model", str(exported.folder), "--out", str(path)]
    ended = CliRunner().invoke(main, options)
    assert ended.exit_code == 0, ended.output
    assert f"{path}: {exported.model.card.kind} {exported.model.fingerprint}" in ended.output
    program, exact = ProgramPredictor(path), Predictor(exported.model, "cpu", exact=True)
    rng, outputs = np.random.default_rng(1), Outputs((0.5, 0.8))
    for size, scale in (((48, 64), 1.0), ((31, 90), 1.0), ((33, 40), 1.5)):
        light, place = rng.random((3, *size), dtype=np.float32), Placement((3.0, 1.0), scale)
        found, expected = (one(light, place, outputs) for one in (program, exact))
        difference = np.abs(found.distance_m / expected.distance_m - 1)
        assert np.quantile(difference, 0.99) < 1e-4
    files = {METADATA: ""}
    torch.export.load(path, extra_files=files)
    metadata = json.loads(files[METADATA])
    assert metadata["fingerprint"] == exported.model.fingerprint
    assert json.loads(metadata["inputs"]) == INPUTS
    assert json.loads(metadata["outputs"]) == dict(OUTPUTS)


def test_other_suffixes_are_refused(model_folder, tmp_path):
    options = ["--model", str(model_folder / "teacher"), "--out", str(tmp_path / "model.pt")]
    ended = CliRunner().invoke(main, ["export", *options])
    assert ended.exit_code == 2
    assert "neither in .onnx nor in .pt2" in ended.output


def test_documentation_names_the_inputs():
    page = (ROOT / "docs/deploy.md").read_text(encoding="utf-8")
    assert all(f"`{name}`" in page for name in INPUTS)
