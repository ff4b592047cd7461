"""Runs a notebook of the project, and collects what it shows."""

from __future__ import annotations

from dataclasses import dataclass

import nbformat
from nbclient import NotebookClient
from nbformat import NotebookNode

from .conftest import Project


@dataclass(frozen=True)
class Shown:
    """Outputs of the cells of a notebook."""

    outputs: list[NotebookNode]

    @property
    def pictures(self) -> int:
        """Number of figures."""
        return sum("image/png" in output.get("data", {}) for output in self.outputs)

    @property
    def text(self) -> str:
        """What it printed."""
        return "".join(output.get("text", "") for output in self.outputs)

    @property
    def html(self) -> str:
        """Tables and pages."""
        return "".join(output.get("data", {}).get("text/html", "") for output in self.outputs)


def run_notebook(project: Project, name: str) -> Shown:
    """Run a notebook from top to bottom in a project."""
    folder = project.folder / "notebooks"
    notebook = nbformat.read(folder / name, as_version=4)
    settings = {"metadata": {"path": str(folder)}}
    NotebookClient(notebook, timeout=120, kernel_name="python3", resources=settings).execute()
    return Shown([output for cell in notebook.cells for output in cell.get("outputs", [])])
