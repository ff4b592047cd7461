"""Lineage of a run: the commit, and the digests of its data."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from typing import Any

import yaml


def git_tags(project: Path) -> dict[str, str]:
    """Commit of the project and whether files differ from it; empty outside a repository."""
    try:
        commit = _git(project, "rev-parse", "HEAD")
        changed = _git(project, "status", "--porcelain", "--untracked-files=no")
    except (OSError, subprocess.CalledProcessError):
        return {}
    return {"mlflow.source.git.commit": commit, "git.changed_files": str(len(changed.splitlines()))}


def dvc_tags(project: Path) -> dict[str, str]:
    """Stage and digests of its data dependencies in dvc.lock; empty outside `dvc`."""
    stage = os.environ.get("DVC_STAGE")
    if stage is None:
        return {}
    stages = _read(project / "dvc.yaml").get("stages", {})
    locked = _read(project / "dvc.lock").get("stages", {})
    outs = {out["path"]: out for entry in locked.values() for out in entry.get("outs", [])}
    deps = [path for path in stages.get(stage, {}).get("deps", []) if path in outs]
    return {"dvc.stage": stage} | {f"dvc.dep.{path}": outs[path]["md5"] for path in deps}


def _read(path: Path) -> dict[str, Any]:
    return (yaml.safe_load(path.read_text(encoding="utf-8")) or {}) if path.is_file() else {}


def _git(project: Path, *arguments: str) -> str:
    command = ["git", "-C", str(project), *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()
