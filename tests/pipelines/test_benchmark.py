"""The benchmark pipeline after a smoke run."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

from ..conftest import Project, SmokeRun
from ..pages import Page

RATIOS = {
    "dense_vs_patch_loop_stride4",
    "dense_vs_monai_stride4",
    "dense_vs_patch_loop_stride1",
    "student_vs_dense_stride4",
    "student_vs_patch_loop_stride4",
    "student_vs_dense_best_runtimes",
    "cached_epoch_vs_online_loop_epoch",
    "cached_epoch_vs_online_dense_epoch",
    "fixed_target_epoch_vs_cached_epoch",
}


def test_the_benchmark_reports_every_ratio(smoke_run: SmokeRun, tmp_path: Path):
    ignored = shutil.ignore_patterns("mlartifacts", "mlflow.db")
    shutil.copytree(smoke_run.folder, tmp_path / "project", ignore=ignored)
    project = Project(tmp_path / "project")
    done = project.run("kedro", "run", "--env", "smoke", "--pipelines", "benchmark,report")
    assert done.returncode == 0, done.stderr
    assert "dense vs patch loop stride4" in done.stdout
    assert "frames/s at 480x360" in done.stdout
    content = json.loads((project.folder / "data/08_reporting/benchmark.json").read_text())
    assert set(content["ratios"]) == RATIOS
    measured = {name: r for name, r in content["ratios"].items() if "monai" not in name}
    assert all(ratio > 0 for ratio in measured.values())
    assert content["student_frames_per_s_480x360"] > 0
    assert "stream of 5 JPEGs" in done.stdout
    stream, (large,) = content["stream"], content["large_photos"]
    assert 0 < stream["p50_s"] <= stream["p95_s"] <= stream["p99_s"]
    assert 0 < large["peak_bytes"] < 2e9
    stages = {row["stage"]: row["cpu_s"] for row in content["costs"]}
    assert list(stages) == ["rendering", "teacher training", "sweep", "distillation"]
    assert min(stages.values()) > 0
    report = Page((project.folder / "data/08_reporting/report.html").read_text())
    assert "Speed" in report.sections
    ratio = content["ratios"]["dense_vs_patch_loop_stride4"]
    assert report.table("ratio of times")["dense vs patch loop stride4"] == [f"{ratio:.3g}x"]
    figure = (project.folder / "data/08_reporting/benchmark.png").read_bytes()
    assert figure in report.pictures.values()
