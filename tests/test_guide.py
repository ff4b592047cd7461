"""docs/your-camera.md: its commands are followed word by word on simulated photos."""

from __future__ import annotations

import re
import shutil
import sys
from pathlib import Path

import pytest
from PIL import Image

from rangefinder.captures.images import write_linear
from rangefinder.captures.manifest import read_captures
from rangefinder.commands.main import COMMANDS

from .conftest import ROOT, Project, SmokeRun

GUIDE = (ROOT / "docs/your-camera.md").read_text()
STEPS = [
    line for block in re.findall(r"```sh\n(.*?)```", GUIDE, re.S) for line in block.splitlines()
]
OTHERS = ("init", "check")  # bring photos into the project; tested with their own commands
SCRIPT = "#!{python}\nfrom rangefinder.commands.main import main\nmain(prog_name='rangefinder')\n"


def test_guide_names_commands_that_exist():
    named = {step.split()[1] for step in STEPS if step.startswith("rangefinder ")}
    assert named - set(OTHERS) <= set(COMMANDS)
    assert named >= {"chart", "distances", "mask", "measure", "verify", "watch", "adapt"}


def test_pictures_of_the_guide_are_there():
    for picture in re.findall(r"\]\((images/.*?)\)", GUIDE):
        assert (ROOT / "docs" / picture).is_file()


@pytest.fixture
def beginner(smoke_run: SmokeRun, tmp_path: Path) -> Project:
    """A trained project with the photos that the guide asks for, by a simulated camera."""
    folder = tmp_path / "project"
    shutil.copytree(smoke_run.folder, folder, ignore=shutil.ignore_patterns("psf_banks"))
    shutil.copytree(folder / "conf/smoke", folder / "conf/mycamera")
    script = folder / "bin/rangefinder"
    script.parent.mkdir()
    script.write_text(SCRIPT.format(python=sys.executable))
    script.chmod(0o755)
    captures = read_captures(folder / "data/02_intermediate/captures")
    scenes = captures.select(role="unlabelled")
    for number, place in enumerate(("shots", "incoming", "new-photos")):
        (folder / place).mkdir()
        for index in range(2):
            photo = scenes.image(2 * number + index)
            write_linear(folder / place / f"{index}.tif", photo.flip(2))
    return Project(folder)


def follow(beginner: Project, step: str, codes: tuple[int, ...] = (0,)) -> str:
    """Run a line of the guide as it stands there."""
    path = f"{beginner.folder / 'bin'}:{Path(sys.executable).parent}:/usr/bin:/bin"
    done = beginner.run("bash", "-c", step, PATH=path, check=False)
    assert done.returncode in codes, f"{step}: {done.stdout}{done.stderr}"
    assert "Traceback" not in done.stderr
    return done.stdout


@pytest.mark.slow
def test_guide_is_followed_word_by_word(beginner):
    done = []
    for step in STEPS:
        if step.startswith("kedro") or step.split()[1] in OTHERS:
            continue
        name = step.split()[1]
        if name == "mask":
            (beginner.folder / "mycamera/charts").mkdir(parents=True)
            sheet = Image.open(beginner.folder / "charts/sheet-01.png").resize((660, 467))
            photo = Image.new("RGB", (760, 560), (120, 120, 120))
            photo.paste(sheet, (50, 40))
            photo.save(beginner.folder / "mycamera/charts/a.png")
        if name == "watch":
            follow(beginner, f"timeout --preserve-status --signal=INT 60 {step}")
            assert len(list((beginner.folder / "incoming/measured").iterdir())) == 6
            done.append(name)
            continue
        said = follow(beginner, step, (0, 1) if name == "verify" else (0,))
        if name == "chart":
            assert len(list((beginner.folder / "charts").glob("*.pdf"))) == 6
            follow(beginner, "rangefinder chart --size A4 --dpi 80 --sheets 1 --format png")
        if name == "measure":
            assert len(list((beginner.folder / "measured").iterdir())) == 6
        if name == "adapt":
            assert "registered as candidate" in said
        done.append(name)
    assert done == ["chart", "distances", "mask", "measure", "verify", "watch", "adapt"]
