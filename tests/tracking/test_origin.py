"""Where a run comes from: commit, and what differs from it."""

from __future__ import annotations

import subprocess

from rangefinder.tracking.origin import CLEAN, environment, git_tags


def git(folder, *words):
    author = ("-c", "user.name=Test", "-c", "user.email=test@example.org")
    command = ["git", "-C", str(folder), *author, *words]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


def test_changes_of_code_count_and_those_of_results_do_not(tmp_path):
    assert git_tags(tmp_path) == {}
    git(tmp_path, "init", "--quiet")
    (tmp_path / "data").mkdir()
    for name in ("code.py", "data/metrics.json", "dvc.lock"):
        (tmp_path / name).write_text("1\n")
    git(tmp_path, "add", "--all")
    git(tmp_path, "commit", "--quiet", "--message", "first")
    (tmp_path / "data/metrics.json").write_text("2\n")
    (tmp_path / "dvc.lock").write_text("2\n")
    tags = git_tags(tmp_path)
    assert tags["mlflow.source.git.commit"] == git(tmp_path, "rev-parse", "HEAD")
    assert (tags["git.change"], tags["git.changed_files"]) == (CLEAN, "0")
    digests = set()
    for text in ("2\n", "3\n", "2\n"):
        (tmp_path / "code.py").write_text(text)
        digests.add(git_tags(tmp_path)["git.change"])
    assert len(digests) == 2
    assert CLEAN not in digests
    assert git_tags(tmp_path)["git.changed_files"] == "1"


def test_the_environment_lists_packages_as_they_are_installed():
    import torch

    found = environment()
    assert found["packages"]["torch"] == torch.__version__
    assert found["cores"] >= 1
