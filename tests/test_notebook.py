"""The notebook runs from top to bottom on what the pipelines leave behind."""

import shutil

import nbformat
from nbclient import NotebookClient

from .conftest import ROOT, SmokeRun

NAME = "01_look_inside.ipynb"


def test_the_notebook_runs_and_shows_its_pictures(smoke_run: SmokeRun):
    folder = smoke_run.folder / "notebooks"
    folder.mkdir(exist_ok=True)
    shutil.copy(ROOT / "notebooks" / NAME, folder)
    notebook = nbformat.read(folder / NAME, as_version=4)
    settings = {"metadata": {"path": str(folder)}}
    NotebookClient(notebook, timeout=120, kernel_name="python3", resources=settings).execute()
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    assert sum("image/png" in output.get("data", {}) for output in outputs) == 4
    assert any("student: median relative error" in output.get("text", "") for output in outputs)


def test_the_committed_notebook_carries_no_outputs():
    notebook = nbformat.read(ROOT / "notebooks" / NAME, as_version=4)
    assert all(not cell.get("outputs") for cell in notebook.cells)
