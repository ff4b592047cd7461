"""patch_caching and cache_audit after a smoke run."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from rangefinder.cache.store import read_cache
from rangefinder.captures.manifest import read_captures
from rangefinder.config import CacheParams
from rangefinder.models.model_files import load_model
from rangefinder.sweep.sweep import Sweep

from ..conftest import ROOT, Project, SmokeRun

CACHE = "data/07_model_output/teacher_cache"
RUN = ("kedro", "run", "--env", "smoke", "--pipeline")


@pytest.fixture
def project(smoke_run: SmokeRun, tmp_path: Path) -> Project:
    """A copy of the smoke project, without records."""
    ignored = shutil.ignore_patterns("mlartifacts", "mlflow.db")
    shutil.copytree(smoke_run.folder, tmp_path / "project", ignore=ignored)
    return Project(tmp_path / "project")


def test_bytes_and_saved_hours_are_printed(smoke_run):
    assert "24 bytes per grid cell" in smoke_run.output
    assert "Hours saved per epoch against the patch loop" in smoke_run.output


def test_the_compact_form_of_a_trained_teacher_loses_less_than_a_hundredth_nat(smoke_run):
    captures = read_captures(smoke_run.folder / "data/02_intermediate/captures")
    teacher = load_model(smoke_run.folder / "data/06_models/teacher")
    card, cache = teacher.card, read_cache(smoke_run.folder / CACHE)
    sweep = Sweep(teacher.network, captures.camera, CacheParams(), card.patch_px, card.stride_px)
    photos = captures.select(role="unlabelled", split="train")
    for index, capture_id in enumerate(photos.table["capture_id"]):
        probs = sweep(photos.image(index), photos.placement(index))
        cached = teacher.distribution.unpack(cache.read(capture_id))
        lost = (probs * (probs.clamp(min=1e-30) / cached).log()).sum(-1)
        assert lost.mean() <= 0.01
    assert cache.key.cell_bytes <= 24


def test_the_audit_of_a_good_cache_passes_and_is_recorded(project):
    log = project.run(*RUN, "cache_audit").stderr
    assert "largest difference" in log
    report = json.loads((project.folder / "data/08_reporting/cache_audit.json").read_text())
    scores = report["scores"]["cache_audit"]
    assert scores["patches"] > 100
    assert scores["largest_difference"] <= scores["tolerance"]

    from mlflow import MlflowClient

    (run,) = MlflowClient(project.store).search_runs(["1"])
    assert run.data.metrics["cache_audit/largest_difference"] == scores["largest_difference"]


def test_the_audit_of_a_damaged_cache_fails_and_the_next_sweep_repairs_it(project):
    folder = project.folder / CACHE
    shard = next(folder.glob("shard-*"))
    undamaged = shard.read_bytes()
    shard.write_bytes(undamaged[:-1] + bytes([undamaged[-1] ^ 8]))
    done = project.run(*RUN, "cache_audit", check=False)
    assert done.returncode != 0
    assert f"{shard.name} is damaged" in done.stderr
    assert f"{shard.name} is damaged" in project.run(*RUN, "patch_caching").stderr
    assert shard.read_bytes() == undamaged


def test_clean_cache_removes_partial_results_and_keeps_the_cache(project):
    work = project.folder / f"{CACHE}.work" / "0123456789abcdef"
    work.mkdir(parents=True)
    (work / "some.piece").write_bytes(b"1")
    shutil.copy(ROOT / "Makefile", project.folder)
    project.run("make", "clean-cache")
    assert not work.parent.exists()
    assert (project.folder / CACHE / "key.json").exists()
