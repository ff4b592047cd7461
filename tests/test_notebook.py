"""The notebooks run on what the pipelines leave behind; Kedro's shell has typed parameters."""

from __future__ import annotations

from collections.abc import Callable
from html import unescape

import nbformat
import pytest

from .conftest import ROOT, SmokeRun
from .notebook import Shown, run_notebook


def check_look_inside(shown: Shown) -> None:
    assert shown.pictures == 4
    assert "student: median relative error" in shown.text


def check_compare_runs(shown: Shown) -> None:
    assert shown.pictures == 2
    assert "distill smoke seed 0: student" in shown.html
    assert "bank.distances" in shown.html  # the run's differs from the project's own
    assert "candidate" in shown.html


def check_your_photo(shown: Shown) -> None:
    assert shown.pictures == 2
    assert shown.text.count("80% interval") == 6
    assert '"maps": ["distance_m"' in unescape(shown.html)


CHECKS = {
    "01_look_inside.ipynb": check_look_inside,
    "02_compare_runs.ipynb": check_compare_runs,
    "03_your_photo.ipynb": check_your_photo,
}


def test_every_notebook_is_run():
    assert {path.name for path in ROOT.glob("notebooks/*.ipynb")} == CHECKS.keys()


@pytest.mark.parametrize(("name", "check"), CHECKS.items())
def test_a_notebook_shows_what_it_promises(
    smoke_run: SmokeRun, name: str, check: Callable[[Shown], None]
):
    check(run_notebook(smoke_run, name))


@pytest.mark.parametrize("name", CHECKS)
def test_a_committed_notebook_carries_no_outputs(name: str):
    notebook = nbformat.read(ROOT / "notebooks" / name, as_version=4)
    assert all(not cell.get("outputs") for cell in notebook.cells)


def test_the_shell_of_kedro_has_typed_parameters(smoke_run: SmokeRun, tmp_path):
    code = (
        "print(catalog.load('parameters').student.max_epochs,"
        " type(catalog.load('params:camera')).__name__)"
    )
    command = ("kedro", "ipython", "--env", "smoke", "-c", code)
    assert smoke_run.run(*command, IPYTHONDIR=str(tmp_path)).stdout.splitlines()[-1] == (
        "2 CameraParams"
    )
