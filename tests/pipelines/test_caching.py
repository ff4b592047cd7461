"""patch_caching and cache_audit as a user runs them, on what the smoke chain left."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from rangefinder.cache.store import read_cache
from rangefinder.cache.sweep import Sweep
from rangefinder.captures.manifest import read_captures
from rangefinder.config import CacheParams
from rangefinder.models.io import load_model

from ..conftest import ROOT, Project, SmokeRun

CACHE = "data/07_model_output/teacher_cache"
RUN = ("kedro", "run", "--env", "smoke", "--pipeline")


@pytest.fixture
def project(smoke_run: SmokeRun, tmp_path: Path) -> Project:
    """A copy of the smoke project, without records."""
    ignored = shutil.ignore_patterns("mlartifacts", "mlflow.db")
    shutil.copytree(smoke_run.folder, tmp_path / "project", ignore=ignored)
    return Project(tmp_path / "project")


def test_bytes_and_hours_are_printed(smoke_run):
    assert "24 bytes per grid cell" in smoke_run.output
    assert "Hours saved against asking the teacher patch by patch" in smoke_run.output


def test_the_compact_form_of_a_trained_teacher_loses_less_than_a_hundredth_nat(smoke_run):
    captures = read_captures(smoke_run.folder / "data/02_intermediate/captures")
    teacher = load_model(smoke_run.folder / "data/06_models/teacher")
    card, cache = teacher.card, read_cache(smoke_run.folder / CACHE)
    sweep = Sweep(teacher.network, captures.camera, CacheParams(), card.patch_px, card.stride_px)
    photos = captures.select(role="unlabelled", split="train")
    for index, capture_id in enumerate(photos.table["capture_id"]):
        probs = sweep(photos.image(index), photos.placement(index))
        cached = teacher.prediction.unpack(cache.read(capture_id))
        lost = (probs * (probs.clamp(min=1e-30) / cached).log()).sum(-1)
        assert lost.mean() <= 0.01
    assert cache.key.cell_bytes <= 24


def test_audit_of_a_good_cache_passes_and_records_what_it_found(project):
    said = project.run(*RUN, "cache_audit").stderr
    assert "largest difference" in said
    report = json.loads((project.folder / "data/08_reporting/cache_audit.json").read_text())
    scores = report["scores"]["cache_audit"]
    assert scores["patches"] > 100
    assert scores["largest_difference"] <= scores["tolerance"]

    from mlflow import MlflowClient

    (run,) = MlflowClient(project.store).search_runs(["1"])
    assert run.data.metrics["cache_audit/largest_difference"] == scores["largest_difference"]


def test_audit_of_a_damaged_cache_fails_and_the_next_sweep_mends_it(project):
    folder = project.folder / CACHE
    shard = next(folder.glob("shard-*"))
    whole = shard.read_bytes()
    shard.write_bytes(whole[:-1] + bytes([whole[-1] ^ 8]))
    done = project.run(*RUN, "cache_audit", check=False)
    assert done.returncode != 0
    assert f"{shard.name} is damaged" in done.stderr
    assert f"{shard.name} is damaged" in project.run(*RUN, "patch_caching").stderr
    assert shard.read_bytes() == whole


def test_clean_cache_drops_work_in_progress_and_keeps_the_cache(project):
    work = project.folder / f"{CACHE}.work" / "0123456789abcdef"
    work.mkdir(parents=True)
    (work / "some.piece").write_bytes(b"1")
    shutil.copy(ROOT / "Makefile", project.folder)
    project.run("make", "clean-cache")
    assert not work.parent.exists()
    assert (project.folder / CACHE / "key.json").exists()
