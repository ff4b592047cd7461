"""`rangefinder measure`, `verify` and `watch` as a user runs them."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from rangefinder.commands.main import main

from ..conftest import ROOT, clean_environment
from ..deploy.conftest import models, photos  # noqa: F401

COMMAND = "from rangefinder.commands.main import main; main(prog_name='rangefinder')"


def run(*arguments):
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


def environment():
    kept = clean_environment()
    path = os.pathsep.join([str(ROOT / "src"), kept.get("PYTHONPATH", "")])
    return kept | {"PYTHONPATH": path, "PYTHONUNBUFFERED": "1"}


def test_measuring_with_a_folder_imports_little(models, photos, tmp_path):  # noqa: F811
    code = (
        "import sys\n"
        "from rangefinder.commands.main import main\n"
        f"main({['measure', str(photos / 'b.png'), '--model', str(models / 'student')]!r} + "
        f"{['--out', str(tmp_path / 'out'), '--at', '3,4', '--ply']!r}, standalone_mode=False)\n"
        "heavy = {'kedro', 'mlflow', 'lightning', 'pandas', 'matplotlib', 'scipy', 'skimage'}\n"
        "heavy &= set(sys.modules)\n"
        "assert not heavy, heavy\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment(), capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "at (3, 4): " in done.stdout
    assert "80% interval" in done.stdout


def test_folder_with_a_bad_photo_is_measured_but_for_that_one(models, photos, tmp_path):  # noqa: F811
    (photos / "bad.png").write_text("no photo")
    out = tmp_path / "out"
    done = run("measure", photos, "--model", models / "student", "--out", out, "--json")
    assert done.exit_code == 2
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert [Path(line["photo"]).name for line in lines] == ["a.tif", "b.png", "bad.png", "c.jpg"]
    assert ["error" in line for line in lines] == [False, False, True, False]
    assert "1 of 4 photos" in done.stderr
    assert len(list(out.iterdir())) == 9


def test_machine_failure_is_told_apart_from_bad_input(models, photos, tmp_path):  # noqa: F811
    blocked = tmp_path / "file"
    blocked.write_text("")
    model = ("--model", models / "student")
    done = run("measure", photos / "b.png", *model, "--out", blocked / "inside")
    assert (done.exit_code, done.output.count("\n")) == (1, 1), done.output
    assert run("measure", photos / "b.png", "--model", tmp_path / "none").exit_code == 2
    assert run("measure", photos / "b.png", *model, "--at", "here").exit_code == 2
    assert run("measure", photos / "none.png", *model, "--out", tmp_path / "x").exit_code == 2
    assert not (tmp_path / "x").exists()


def test_verify_tells_inside_from_outside(models, photos):  # noqa: F811
    model = ("--model", models / "student", "--device", "cpu")
    said = run("verify", photos / "b.png", "--distance", 2, "--json", *model)
    reading = json.loads(said.stdout)["reading"]
    inside = run("verify", photos / "b.png", "--distance", reading["distance_m"], *model)
    assert inside.exit_code == 0, inside.output
    assert "  inside" in inside.output
    outside = run("verify", photos / "b.png", "--distance", 100, *model)
    assert outside.exit_code == 1
    assert "OUTSIDE" in outside.output


def test_verify_takes_a_distance_for_each_photo(models, photos):  # noqa: F811
    model = ("--model", models / "student", "--device", "cpu")
    two = (photos / "b.png", photos / "c.jpg")
    both = run("verify", *two, "--distance", 1.0, "--distance", 100, *model)
    assert both.exit_code == 1
    assert [line.split()[2] for line in both.output.splitlines()[2:4]] == ["1.000", "100.000"]
    assert "of 2 inside" in both.output
    wrong = run("verify", *two, photos / "a.tif", "--distance", 1, "--distance", 2, *model)
    assert wrong.exit_code == 2
    assert run("verify", photos / "b.png", "--distance", 0, *model).exit_code == 2


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_watch_measures_what_lands_and_ends_cleanly(models, photos, number):  # noqa: F811
    command = [sys.executable, "-c", COMMAND, "watch", str(photos), "--json", "--interval", "0.05"]
    command += ["--model", str(models / "student"), "--device", "cpu"]
    with subprocess.Popen(
        command, env=environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        names = {Path(json.loads(process.stdout.readline())["photo"]).name for _ in range(3)}
        assert names == {"a.tif", "b.png", "c.jpg"}
        (photos / "bad.jpg").write_text("no photo")
        assert "error" in json.loads(process.stdout.readline())
        (photos / "later.png").write_bytes((photos / "b.png").read_bytes())
        assert json.loads(process.stdout.readline())["photo"].endswith("later.png")
        process.send_signal(number)
        rest, said = process.communicate(timeout=60)
    assert process.returncode == 0, said
    assert rest == ""
    assert "4 photos measured, 1 refused." in said
    assert "Traceback" not in said
    assert len(list((photos / "measured").iterdir())) == 12
