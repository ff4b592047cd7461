"""Where a run comes from: commit, DVC's digests, packages, device."""

from __future__ import annotations

import getpass
import os
import platform
import subprocess
from importlib.metadata import distributions
from pathlib import Path
from typing import Any

import yaml

from rangefinder.common.files import checksum

COMMIT, CHANGE, CLEAN = "mlflow.source.git.commit", "git.change", "clean"
SOURCE, STAGE = "mlflow.source.name", "dvc.stage"
_RESULTS = ("data", "dvc.lock")


def git_tags(project: Path) -> dict[str, str]:
    """Commit of the project, and a digest of what differs from it; empty outside a repository.

    Results (data/, dvc.lock) do not count: runs change them, and they have fingerprints.
    """
    paths = ("--", ".", *(f":(exclude){path}" for path in _RESULTS))
    try:
        commit = _git(project, "rev-parse", "HEAD")
        changed = _git(project, "status", "--porcelain", "--untracked-files=no", *paths)
        change = _git(project, "diff", "HEAD", *paths) if changed else ""
    except (OSError, subprocess.CalledProcessError):
        return {}
    digest = checksum(change.encode()) if change else CLEAN
    return {COMMIT: commit, CHANGE: digest, "git.changed_files": str(len(changed.splitlines()))}


def dvc_tags(project: Path) -> dict[str, str]:
    """Stage and digests of its data dependencies in dvc.lock; empty outside `dvc`."""
    stage = os.environ.get("DVC_STAGE")
    if stage is None:
        return {}
    stages = _read(project / "dvc.yaml").get("stages", {})
    locked = _read(project / "dvc.lock").get("stages", {})
    outs = {out["path"]: out for entry in locked.values() for out in entry.get("outs", [])}
    deps = [path for path in stages.get(stage, {}).get("deps", []) if path in outs]
    return {STAGE: stage} | {f"dvc.dep.{path}": outs[path]["md5"] for path in deps}


def source_tags(command: str) -> dict[str, str]:
    """Who ran which command, as columns of MLflow's table show it."""
    return {SOURCE: command, "mlflow.source.type": "PROJECT", "mlflow.user": _user()}


def environment() -> dict[str, Any]:
    """Python, machine and every installed package, name to version."""
    packages = {each.name.lower(): each.version for each in distributions()}
    return {
        "python": platform.python_version(),
        "system": platform.platform(),
        "cores": os.cpu_count(),
        "packages": dict(sorted(packages.items())),
    }


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # no such user, as in containers
        return "unknown"


def _read(path: Path) -> dict[str, Any]:
    return (yaml.safe_load(path.read_text(encoding="utf-8")) or {}) if path.is_file() else {}


def _git(project: Path, *arguments: str) -> str:
    command = ["git", "-C", str(project), *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()
