"""`rangefinder drift`, and `watch` that looks for it too."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys

import pytest
import torch

from rangefinder.captures.images import write_linear
from rangefinder.inference.drift_terms import with_drift_reference
from rangefinder.models.model_files import save_model

from ..conftest import COMMAND, program_environment
from ..drifting_camera import STUDENT, TrueDistances, held_out, take
from .conftest import call

COUNT = 20
LENS = {"shift_px": 0.15}


def photos(folder, first, **lens):
    """Photos of the lens as files."""
    folder.mkdir()
    for seed in range(first, first + COUNT):
        write_linear(folder / f"{seed}.tif", torch.from_numpy(take(seed, **lens)[0]))
    return folder


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """An untrained student with a reference: it reads the same distances off all photos alike."""
    folder = tmp_path_factory.mktemp("drift")
    captures = held_out(folder, TrueDistances(STUDENT.card))
    save_model(folder / "student", with_drift_reference(STUDENT, captures, "cpu"))
    return folder / "student"


@pytest.fixture(scope="module")
def same(tmp_path_factory):
    return photos(tmp_path_factory.mktemp("photos") / "same", 1000)


@pytest.fixture(scope="module")
def changed(tmp_path_factory):
    return photos(tmp_path_factory.mktemp("photos") / "changed", 2000, **LENS)


def test_photos_of_the_same_camera_are_no_drift(model, same):
    done = call("drift", same, "--model", model)
    assert done.exit_code == 0, done.output
    assert f"No drift in {COUNT} photos" in done.stdout


def test_drift_has_an_exit_code_and_a_report(model, changed, tmp_path):
    report = tmp_path / "report.html"
    done = call("drift", changed, "--model", model, "--out", report, "--json")
    assert done.exit_code == 1
    content = json.loads(done.stdout)
    assert content["causes"] == ["decentring"]
    assert content["verdict"] in report.read_text()


def test_what_cannot_be_judged_has_another_exit_code(model, model_folder, same, tmp_path):
    few = tmp_path / "few"
    few.mkdir()
    for path in sorted(same.iterdir())[:5]:
        shutil.copy(path, few)
    done = call("drift", few, "--model", model)
    assert done.exit_code == 2
    assert "too few photos" in done.output
    done = call("drift", same, "--model", model_folder / "student")
    assert done.exit_code == 2
    assert "no drift reference" in done.output


@pytest.mark.slow
def test_watching_says_once_that_the_camera_has_changed(model, changed, tmp_path):
    (tmp_path / "conf/base").mkdir(parents=True)
    (tmp_path / "conf/local").mkdir()
    parameters = "drift: {min_photos: 10, window_photos: 10}\n"
    (tmp_path / "conf/base/parameters.yml").write_text(parameters)
    (tmp_path / "pyproject.toml").write_text('[tool.kedro]\npackage_name = "rangefinder"\n')
    options = ["--interval", "0.05", "--model", str(model), "--out", str(tmp_path / "out")]
    with subprocess.Popen(
        [sys.executable, "-c", COMMAND, "watch", str(changed), "--json", *options],
        env=program_environment(),
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        for _ in range(COUNT):
            assert "error" not in json.loads(process.stdout.readline())
        process.send_signal(signal.SIGINT)
        _, messages = process.communicate(timeout=60)
    assert process.returncode == 0, messages
    assert messages.count("DRIFT in 10 photos") == 1


@pytest.mark.slow
def test_an_exported_file_finds_it_without_torch(model, changed, tmp_path):
    pytest.importorskip("onnxruntime")
    path = tmp_path / "student.onnx"
    exported = call("export", "--model", model, "--out", path)
    assert exported.exit_code == 0, exported.output
    code = (
        "import sys\n"
        "from rangefinder.commands import main\n"
        "try:\n"
        f"    main(['drift', {str(changed)!r}, '--model', {str(path)!r}])\n"
        "except SystemExit as end:\n"
        "    print(end.code, 'torch' in sys.modules)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=program_environment(),
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.startswith("DRIFT in")
    assert done.stdout.splitlines()[-1] == "1 False"
