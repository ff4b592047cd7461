"""docs/your-camera.md: its commands are followed word by word on simulated photos."""

from __future__ import annotations

import re
import shutil
import sys
from pathlib import Path

import pytest
import yaml
from PIL import Image

from rangefinder.captures.images import write_linear
from rangefinder.captures.manifest import read_captures
from rangefinder.captures.tables import read_table
from rangefinder.commands import COMMANDS
from rangefinder.config import Parameters

from .conftest import ROOT, Project, SmokeRun

SMOKE = yaml.safe_load((ROOT / "conf/smoke/parameters.yml").read_text())
GUIDE = (ROOT / "docs/your-camera.md").read_text()
STEPS = [
    line for block in re.findall(r"```sh\n(.*?)```", GUIDE, re.S) for line in block.splitlines()
]
FOLLOWED = [
    *("init", "chart", "distances", "mask", "check", "init", "run"),
    *("measure", "verify", "watch", "adapt"),
]
RECORDED = {"focal_length_mm", "f_number", "focus_distance_m"}  # as the photos are simulated
SCRIPT = "#!{python}\nfrom rangefinder.commands import main\nmain(prog_name='rangefinder')\n"


def test_guide_names_commands_that_exist():
    named = {step.split()[1] for step in STEPS if step.startswith("rangefinder ")}
    assert named <= set(COMMANDS)
    assert named >= set(FOLLOWED) - {"run"}


def test_pictures_of_the_guide_are_there():
    for picture in re.findall(r"\]\((images/.*?)\)", GUIDE):
        assert (ROOT / "docs" / picture).is_file()


def test_the_table_of_the_guide_is_understood(tmp_path):
    (block,) = re.findall(r"```csv\n(.*?)```", GUIDE, re.S)
    (tmp_path / "captures.csv").write_text(block)
    table = read_table(tmp_path / "captures.csv")
    assert (table.problems, table.ignored) == ((), ())
    assert {row.role for row in table.rows} == {"chart", "unlabelled", "labelled"}
    assert [row.split for row in table.rows if row.split] == ["test"]


def test_columns_for_the_maps_of_others_are_understood(tmp_path):
    kinds = set()
    for line in GUIDE[GUIDE.index("## Distance maps of others") :].splitlines():
        if not line.startswith("| ") or line.startswith(("| maps", "| ---")):
            continue
        columns = dict(re.findall(r"`(\w+)=([\w.]+)`", line.split("|")[3]))
        names, values = ",".join(["", *columns]), ",".join(["", *columns.values()])
        text = f"image,role,distance_map,scene{names}\na.png,rgbd,a.pfm,room{values}\n"
        (tmp_path / "captures.csv").write_text(text)
        table = read_table(tmp_path / "captures.csv")
        assert (table.problems, table.ignored) == ((), ()), line
        kinds.add(table.rows[0].distance_kind)
    assert kinds == {None, "radial", "disparity"}


@pytest.fixture
def beginner(smoke_run: SmokeRun, tmp_path: Path) -> Project:
    """A project with the photos that the guide asks for, by a simulated camera."""
    folder = tmp_path / "project"
    shutil.copytree(smoke_run.folder, folder, ignore=shutil.ignore_patterns("psf_banks"))
    (folder / "mycamera").mkdir()
    default = Parameters().camera.model_dump(include=RECORDED)
    camera = default | SMOKE["camera"] | {"name": "mycamera"}
    (folder / "mycamera/camera.yml").write_text(yaml.safe_dump(camera))
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


def list_photos(project: Project) -> None:
    """What a user photographed and measured: captures.csv of the smoke environment's photos."""
    captures = read_captures(project.folder / "data/02_intermediate/captures")
    lines = ["image,role,distance_m,distance_map,valid_mask,scene,split"]
    for row in captures.table.to_dict("records"):
        copied = {}
        for column in ("image", "distance_map"):
            if isinstance(row[column], str):
                copied[column] = f"{column}/{Path(row[column]).name}"
                (project.folder / "mycamera" / column).mkdir(exist_ok=True)
                shutil.copy(
                    captures.folder / row[column], project.folder / "mycamera" / copied[column]
                )
        distance = f"{row['distance_m']:.4f}" if row["role"] == "chart" else ""
        map_ = copied.get("distance_map", "") if row["role"] == "labelled" else ""
        cells = [copied["image"], row["role"], distance, map_, "", row["scene"], row["split"]]
        lines.append(",".join(cells))
    (project.folder / "mycamera/captures.csv").write_text("\n".join(lines) + "\n")


def shorten(project: Project) -> None:
    """Let the configuration that `init` made train for seconds."""
    path = project.folder / "conf/mycamera/parameters.yml"
    made = yaml.safe_load(path.read_text())
    small = {name: SMOKE[name] for name in ("teacher", "student", "evaluation", "compute")}
    small["evaluation"] = {**made["evaluation"], **small["evaluation"]}
    path.write_text(yaml.safe_dump({**made, **small}))


def photograph_a_sheet(project: Project) -> None:
    (project.folder / "mycamera/charts").mkdir(parents=True, exist_ok=True)
    sheet = Image.open(project.folder / "charts/sheet-01.png").resize((660, 467))
    photo = Image.new("RGB", (760, 560), (120, 120, 120))
    photo.paste(sheet, (50, 40))
    photo.save(project.folder / "mycamera/charts/a.png")


@pytest.mark.slow
def test_guide_is_followed_word_by_word(beginner):
    done = []
    before = {"mask": photograph_a_sheet, "check": list_photos, "run": shorten}
    for step in STEPS:
        name = step.split()[1]
        if name in before:
            before[name](beginner)
        if name == "watch":
            step = f"timeout --preserve-status --signal=INT 60 {step}"
        said = follow(beginner, step, (0, 1) if name == "verify" else (0,))
        if name == "chart":
            assert len(list((beginner.folder / "charts").glob("*.pdf"))) == 6
            follow(beginner, "rangefinder chart --size A4 --dpi 80 --sheets 1 --format png")
        if name == "measure":
            assert len(list((beginner.folder / "measured").iterdir())) == 6
        if name == "watch":
            assert len(list((beginner.folder / "incoming/measured").iterdir())) == 6
        if name == "adapt":
            assert "registered as version" in said
        done.append(name)
    assert done == FOLLOWED
