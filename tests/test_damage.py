"""Damage to anything that is stored is found: by who reads it, and by `rangefinder fsck`."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner

from rangefinder.cache.fill import fill_cache
from rangefinder.cache.store import read_cache
from rangefinder.captures.manifest import read_captures, write_captures
from rangefinder.commands import BAD_INPUT, main
from rangefinder.commands.fsck import examine
from rangefinder.common.onnx_checksum import require_whole, with_checksum
from rangefinder.config.project import Project
from rangefinder.errors import RangefinderError
from rangefinder.models.model_files import load_model, save_model
from rangefinder.optics.blur import TracedBlur
from rangefinder.optics.calibrated_lens import CalibratedLens
from rangefinder.optics.lens_model import LensModel, LensShape
from rangefinder.optics.psf_bank import PsfBank
from rangefinder.training.checkpoints import LAST, read_checkpoint, write_checkpoint

from .cache.conftest import PARAMS
from .tiny_camera import CAMERA, make_capture, make_model

SET, MODELS = "data/02_intermediate/captures", "data/06_models"
BANK = f"data/02_intermediate/psf_banks/{'b' * 16}.safetensors"
CACHE = "data/07_model_output/teacher_cache"
CHECKPOINT = f"{MODELS}/checkpoints/teacher/{LAST}"
EXPORTED = f"{MODELS}/student.onnx"
LENS = "lens.safetensors"  # a user's, found where it is read
FLIPS, MANY_FLIPS = 3, 100
CUTS = 20
Read = Callable[[Path], object]


def read_set(project: Path) -> None:
    read_captures(project / SET).verify()


def read_whole_cache(project: Path) -> None:
    cache = read_cache(project / CACHE)
    for name in cache.index:
        cache.read(name)


KINDS: dict[str, tuple[str, Read, str]] = {  # kind -> pattern, reader, what makes it anew
    "photo": (f"{SET}/images/*.tif", read_set, "ingestion"),
    "map in millimetres": (f"{SET}/distance/*.png", read_set, "ingestion"),
    "map in metres": (f"{SET}/distance/*.tif", read_set, "ingestion"),
    "texture": (f"{SET}/texture/*.tif", read_set, "ingestion"),
    "manifest": (f"{SET}/captures.parquet", read_set, "ingestion"),
    "seal": (f"{SET}/seal.json", read_set, "ingestion"),
    "camera record": (f"{SET}/camera.json", read_set, "ingestion"),
    "blur": (f"{SET}/blur.safetensors", read_set, "ingestion"),
    "PSF bank": (BANK, lambda at: PsfBank.load(at / BANK, "b" * 16), "ingestion"),
    "lens": (LENS, lambda at: CalibratedLens.load(at / LENS), ""),
    "weights": (
        f"{MODELS}/teacher/weights.safetensors",
        lambda at: load_model(at / MODELS / "teacher"),
        "teacher_training",
    ),
    "card": (
        f"{MODELS}/student/card.json",
        lambda at: load_model(at / MODELS / "student"),
        "student_distillation",
    ),
    "exported file": (EXPORTED, lambda at: require_whole(at / EXPORTED), "export"),
    "checkpoint": (CHECKPOINT, lambda at: read_checkpoint(at / CHECKPOINT), "its training"),
    "key": (f"{CACHE}/key.json", read_whole_cache, "patch_caching"),
    "index": (f"{CACHE}/index-*.parquet", read_whole_cache, "patch_caching"),
    "shard": (f"{CACHE}/shard-*.bin", read_whole_cache, "patch_caching"),
}


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project with one of everything."""
    root = tmp_path_factory.mktemp("whole") / "project"
    (root / "conf/base").mkdir(parents=True)
    for name in ("adaptation", "parameters", "tracking"):
        (root / f"conf/base/{name}.yml").touch()
    size = CAMERA.height_px, CAMERA.width_px
    near, far = torch.full(size, 1.5), torch.full(size, 80.0)  # millimetres end at 65.5 m
    captures = [
        make_capture(seed=0, distance_map=near, texture=near / 10),
        make_capture(seed=1, distance_map=far),
        make_capture("unlabelled", seed=2),
    ]
    nodes = np.array([0.2, 1.4]), np.array([0.0, size[0]]), np.array([0.0, size[1]])
    blur = TracedBlur(np.arange(8.0).reshape(2, 2, 2), *nodes)
    stored = write_captures(root / SET, CAMERA, captures, blur)
    bank = PsfBank(
        kernels=torch.rand(2, 2, 2, 3, 3, 3),
        relative_illumination=torch.rand(2, 2, 2),
        **{
            name: torch.from_numpy(array)
            for name, array in zip(
                ("inverse_distance_dpt", "field_y_px", "field_x_px"), nodes, strict=True
            )
        },
        camera=CAMERA.fingerprint,
        fingerprint="b" * 16,
    )
    bank.save(root / BANK)
    CalibratedLens(LensModel(CAMERA, LensShape.of(CAMERA))).save(root / LENS)
    for kind in ("teacher", "student"):
        save_model(root / MODELS / kind, make_model(kind))
    (root / EXPORTED).write_bytes(with_checksum(bytes(range(256))))
    (root / CHECKPOINT).parent.mkdir(parents=True)
    write_checkpoint(root / CHECKPOINT, {"state_dict": {"a": torch.rand(40)}})
    fill_cache(make_model("teacher"), stored, PARAMS, root / CACHE)
    return root


@pytest.fixture
def project(whole: Path, tmp_path: Path) -> Path:
    shutil.copytree(whole, tmp_path / "project")
    return tmp_path / "project"


def flipped(path: Path, number: int) -> bytes:
    """Content of a file with one bit of it the other way."""
    content = bytearray(path.read_bytes())
    place = int(np.random.default_rng(number).integers(8 * len(content)))
    content[place // 8] ^= 1 << place % 8
    return bytes(content)


def unnoticed(project: Path, kind: str, flips: int) -> list[int]:
    """Numbers of those flips of a bit after which a file is read as if nothing were wrong."""
    pattern, read, _ = KINDS[kind]
    path = sorted(project.glob(pattern))[0]
    read(project)
    content, silent = path.read_bytes(), []
    for number in range(flips):
        path.write_bytes(flipped(path, number))
        try:
            read(project)
        except RangefinderError:
            continue
        finally:
            path.write_bytes(content)
        silent.append(number)
    return silent


@pytest.mark.parametrize("kind", KINDS)
def test_no_flipped_bit_is_used_silently(project, kind):
    assert unnoticed(project, kind, FLIPS) == []


@pytest.mark.faults
@pytest.mark.parametrize("kind", KINDS)
def test_no_flipped_bit_is_used_silently_at_length(project, kind, survived):
    assert unnoticed(project, kind, MANY_FLIPS) == []
    survived(f"flipped bit: {kind}", MANY_FLIPS)


@pytest.mark.faults
@pytest.mark.parametrize("kind", KINDS)
def test_a_cut_or_lost_file_is_never_used(project, kind, survived):
    pattern, read, _ = KINDS[kind]
    path = sorted(project.glob(pattern))[0]
    content = path.read_bytes()
    for length in np.linspace(0, len(content.rstrip(b"\n")) - 1, CUTS, dtype=int):
        path.write_bytes(content[:length])
        with pytest.raises(RangefinderError):
            read(project)
    path.unlink()
    with pytest.raises(RangefinderError):
        read(project)
    survived(f"cut or lost file: {kind}", CUTS + 1)


def test_fsck_finds_a_project_whole(project, monkeypatch):
    monkeypatch.chdir(project)
    done = CliRunner().invoke(main, ["fsck"])
    assert done.exit_code == 0, done.output
    lines = [line for line in done.output.splitlines() if "whole" in line]
    assert {line.split()[0] for line in lines} == {
        SET,
        BANK,
        f"{MODELS}/teacher",
        f"{MODELS}/student",
        EXPORTED,
        CHECKPOINT,
        CACHE,
    }
    assert "damaged" not in done.output


@pytest.mark.parametrize("kind", [kind for kind, (*_, anew) in KINDS.items() if anew])
def test_fsck_names_what_is_damaged_and_what_makes_it_anew(project, monkeypatch, kind):
    pattern, _, anew = KINDS[kind]
    path = sorted(project.glob(pattern))[0]
    path.write_bytes(flipped(path, 0))
    monkeypatch.chdir(project)
    done = CliRunner().invoke(main, ["fsck"])
    assert done.exit_code == BAD_INPUT
    (row,) = [line for line in done.output.splitlines() if " damaged " in line and anew in line]
    assert path.is_relative_to(project / row.split()[0])
    damaged = [one for one in examine(Project(project)) if one.findings]
    assert [one.path for one in damaged] == [project / row.split()[0]]
    assert any(part in " ".join(damaged[0].findings) for part in (path.name, path.parent.name))


def test_fsck_names_every_damaged_file_and_goes_on(project, monkeypatch):
    photos = sorted(project.glob(f"{SET}/images/*.tif"))[:2]
    for path in (*photos, project / CHECKPOINT):
        path.write_bytes(flipped(path, 1))
    monkeypatch.chdir(project)
    done = CliRunner().invoke(main, ["fsck"])
    assert all(f"{path} is damaged" in done.output for path in photos)
    assert f"{project / CHECKPOINT} is damaged" in done.output
    assert f"{MODELS}/teacher" in done.output


def test_fsck_names_commands_with_the_environment(project):
    path = next(iter(sorted(project.glob(f"{SET}/images/*.tif"))))
    path.write_bytes(flipped(path, 1))
    (project / "conf/smoke").mkdir()
    (damaged,) = [one for one in examine(Project(project, "smoke")) if one.findings]
    assert damaged.anew == "kedro run --pipelines ingestion --env smoke"


def test_fsck_looks_where_artifacts_are_kept(project, tmp_path):
    shutil.copytree(project / MODELS / "teacher", tmp_path / "kept/model")
    folder = project / "conf/local"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "tracking.yml").write_text(f"artifacts: {tmp_path / 'kept'}\n")
    found = [one for one in examine(Project(project)) if one.path == tmp_path / "kept/model"]
    assert [one.findings for one in found] == [()]


def test_fsck_of_an_empty_project_says_so(project, monkeypatch):
    shutil.rmtree(project / "data")
    monkeypatch.chdir(project)
    done = CliRunner().invoke(main, ["fsck"])
    assert done.exit_code == 0
    assert "Nothing is stored" in done.output
