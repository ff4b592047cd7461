"""`rangefinder measure`, `verify` and `watch`."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image

from rangefinder.commands.measure import _print_checks, print_report
from rangefinder.inference.session import OneOfTwo, PointReading, TapeCheck
from rangefinder.models.model_files import save_model

from ..conftest import COMMAND, program_environment
from ..tiny_camera import make_model, random_pixels
from .conftest import call

HEAVY = {
    "dvc",
    "kedro",
    "lightning",
    "matplotlib",
    "mlflow",
    "optiland",
    "pandas",
    "scipy",
    "skimage",
}


def test_measuring_with_a_model_folder_imports_little(model_folder, photo_folder, tmp_path):
    photo, model = photo_folder / "b.png", model_folder / "student"
    arguments = ["measure", photo, "--model", model, "--out", tmp_path / "out", "--at", "3,4"]
    code = (
        "import sys\n"
        "from rangefinder.commands import main\n"
        f"main({[*map(str, arguments), '--ply']!r}, standalone_mode=False)\n"
        f"print({HEAVY!r} & set(sys.modules))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=program_environment(),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "at (3, 4): " in done.stdout
    assert "80% interval" in done.stdout
    assert done.stdout.splitlines()[-1] == "set()"


def test_a_folder_is_measured_except_for_a_bad_photo(model_folder, photo_folder, tmp_path):
    (photo_folder / "bad.png").write_text("no photo")
    model, out = model_folder / "student", tmp_path / "out"
    done = call("measure", photo_folder, "--model", model, "--out", out, "--json")
    assert done.exit_code == 2
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert [Path(line["photo"]).name for line in lines] == ["a.tif", "b.png", "bad.png", "c.jpg"]
    assert ["error" in line for line in lines] == [False, False, True, False]
    assert "1 of 4 photos" in done.stderr
    assert len(list(out.iterdir())) == 9


def test_a_set_of_16_bit_photos_of_12_bits_is_doubted_once(model_folder, photo_folder, tmp_path):
    (photo_folder / "a.tif").unlink()
    for number in range(2):
        pixels = random_pixels(seed=number).astype(np.uint16) * 16
        tifffile.imwrite(photo_folder / f"{number}.tif", pixels, photometric="rgb")
    model = ("--model", model_folder / "student", "--out", tmp_path / "out")
    done = call("measure", photo_folder, *model, "--json")
    assert done.exit_code == 0, done.output
    assert len([json.loads(line) for line in done.stdout.splitlines()]) == 4
    doubt = "No sample of 2 16-bit photos is above 4095. 12 bits in 16? Give --bits 12"
    assert done.stderr.count(doubt) == 1
    assert doubt in call("verify", photo_folder, *model[:2], "--distance", 1).stderr
    assert "bits" not in call("measure", photo_folder, *model, "--bits", 12).stderr
    tifffile.imwrite(photo_folder / "full.tif", np.full((48, 64), 60000, np.uint16))
    assert "bits" not in call("measure", photo_folder, *model).stderr


def test_portrait_photos_are_measured_and_verified_as_in_training(tmp_path):
    save_model(tmp_path / "model", make_model("student", orientation="ignore"))
    exif, path = Image.Exif(), tmp_path / "shots/a.jpg"
    exif[0x0112] = 6
    path.parent.mkdir()
    Image.fromarray(random_pixels()).save(path, exif=exif)
    model = ("--model", tmp_path / "model")
    done = call("measure", path, *model, "--out", tmp_path / "out", "--at", "40,60", "--json")
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout)["at"][0]["y_px"] == 60
    assert tifffile.imread(tmp_path / "out/a_distance.tif").shape == (64, 48)
    checked = call("verify", path, *model, "--distance", 1, "--json")
    assert json.loads(checked.stdout)["reading"]["y_px"] == 32


def test_photos_that_nothing_can_read_are_named(model_folder, photo_folder, tmp_path, caplog):
    (photo_folder / "x.gif").write_bytes(b"GIF89a")
    (photo_folder / "notes.txt").write_text("hello")
    model = ("--model", model_folder / "student", "--out", tmp_path / "out")
    assert call("measure", photo_folder, *model).exit_code == 0
    assert caplog.messages == ["1 file skipped: x.gif (save as JPEG, PNG or TIFF)"]


def test_exit_codes_distinguish_a_failing_disk_from_bad_input(model_folder, photo_folder, tmp_path):
    blocked = tmp_path / "file"
    blocked.write_text("")
    model = ("--model", model_folder / "student")
    done = call("measure", photo_folder / "b.png", *model, "--out", blocked / "inside")
    assert (done.exit_code, done.output.count("\n")) == (1, 1), done.output
    assert call("measure", photo_folder / "b.png", "--model", tmp_path / "none").exit_code == 2
    assert call("measure", photo_folder / "b.png", *model, "--at", "here").exit_code == 2
    out = ("--out", tmp_path / "x")
    assert call("measure", photo_folder / "none.png", *model, *out).exit_code == 2
    assert not (tmp_path / "x").exists()


BOTH = PointReading(
    *(1, 2, 0.96, 0.9, 4.2, 0.5), (OneOfTwo(0.952, 0.7, 0.9, 1.0), OneOfTwo(4.1, 0.3, 3.9, 4.3))
)


def test_both_distances_are_printed(capsys):
    at = [json.loads(json.dumps(asdict(BOTH)))]
    report = {"photo": "a.png", "forced": [], "median_m": 1.0, "at": at, "files": {}}
    print_report(report, as_json=False)
    both = "0.952 m (70%: 0.90-1.00 m) or 4.100 m (30%: 3.90-4.30 m)"
    assert f"at (1, 2): 0.960 m, 80% intervals {both}\n" in capsys.readouterr().out
    print_report(report, as_json=True)
    assert json.loads(capsys.readouterr().out) == report


def test_verify_prints_both_intervals(capsys):
    _print_checks([TapeCheck(Path("a.png"), BOTH, tape_m) for tape_m in (4.0, 3.0)])
    inside, outside, summary = capsys.readouterr().out.splitlines()[3:]
    assert re.search(r"4\.000 +0\.960 +-76% +0\.900 - 1\.000 or 3\.900 - 4\.300 +inside$", inside)
    assert outside.endswith("OUTSIDE")
    assert summary.startswith("1 of 2 inside")


def test_verify_compares_a_distance_with_the_interval(model_folder, photo_folder):
    model = ("--model", model_folder / "student", "--device", "cpu")
    done = call("verify", photo_folder / "b.png", "--distance", 2, "--json", *model)
    reading = json.loads(done.stdout)["reading"]
    inside = call("verify", photo_folder / "b.png", "--distance", reading["distance_m"], *model)
    assert inside.exit_code == 0, inside.output
    assert "  inside" in inside.output
    outside = call("verify", photo_folder / "b.png", "--distance", 100, *model)
    assert outside.exit_code == 1
    assert "OUTSIDE" in outside.output


def test_verify_takes_a_distance_for_each_photo(model_folder, photo_folder):
    model = ("--model", model_folder / "student", "--device", "cpu")
    two = (photo_folder / "b.png", photo_folder / "c.jpg")
    both = call("verify", *two, "--distance", 1.0, "--distance", 100, *model)
    assert both.exit_code == 1
    assert [line.split()[2] for line in both.output.splitlines()[3:5]] == ["1.000", "100.000"]
    assert "of 2 inside" in both.output
    wrong = call("verify", *two, photo_folder / "a.tif", "--distance", 1, "--distance", 2, *model)
    assert wrong.exit_code == 2
    assert call("verify", photo_folder / "b.png", "--distance", 0, *model).exit_code == 2


def test_verify_asks_for_metres_and_says_what_is_outside_of_the_range(model_folder, photo_folder):
    model = ("--model", model_folder / "student", "--device", "cpu")
    asked = call("verify", photo_folder / "b.png", "--distance", 2000, *model)
    assert asked.exit_code == 2
    assert "were millimetres meant? Give 2" in " ".join(asked.output.split())
    assert call("verify", photo_folder / "b.png", "--distance", "nan", *model).exit_code == 2
    far = call("verify", photo_folder / "b.png", "--distance", 100, *model)
    assert far.exit_code == 1
    assert "100 m is outside of the model's range" in far.output
    line = call("verify", photo_folder / "b.png", "--distance", 100, "--json", *model).stdout
    assert json.loads(line)["in_range"] is False
    inside = call("verify", photo_folder / "b.png", "--distance", 2, *model)
    assert "the model's range" not in inside.output


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_watch_measures_new_photos_and_ends_cleanly_on_a_signal(model_folder, photo_folder, number):
    options = ["--interval", "0.05", "--model", str(model_folder / "student"), "--device", "cpu"]
    command = [sys.executable, "-c", COMMAND, "watch", str(photo_folder), "--json", *options]
    with subprocess.Popen(
        command,
        env=program_environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        names = {Path(json.loads(process.stdout.readline())["photo"]).name for _ in range(3)}
        assert names == {"a.tif", "b.png", "c.jpg"}
        (photo_folder / "bad.jpg").write_text("no photo")
        assert "error" in json.loads(process.stdout.readline())
        (photo_folder / "later.png").write_bytes((photo_folder / "b.png").read_bytes())
        assert json.loads(process.stdout.readline())["photo"].endswith("later.png")
        process.send_signal(number)
        rest, messages = process.communicate(timeout=60)
    assert process.returncode == 0, messages
    assert rest == ""
    assert "4 photos measured, 1 refused." in messages
    assert "Traceback" not in messages
    assert len(list((photo_folder / "measured").iterdir())) == 12
