"""Code that a stage runs: the import closure of its pipeline module, as entries for dvc.yaml."""

from __future__ import annotations

from pathlib import Path

import grimp

PACKAGE = "rangefinder"


def stage_code(stages: list[str], source: Path) -> dict[str, list[str]]:
    """Dependencies in src/ of each stage: whole rooms where all of a room is imported.

    Args:
        stages: Names of pipelines.
        source: Folder of the package.

    Returns:
        Sorted paths from the project's root, per stage; templates lie beside their modules.
    """
    graph = grimp.build_graph(PACKAGE, exclude_type_checking_imports=True)
    return {stage: _paths(graph, f"{PACKAGE}.pipelines.{stage}", source) for stage in stages}


def _paths(graph: grimp.ImportGraph, module: str, source: Path) -> list[str]:
    files = {source / _file(name, source) for name in graph.find_upstream_modules(module)}
    files = {path for path in files if path.name != "__init__.py"} | {
        source / _file(module, source)
    }
    files |= {page for path in files if (page := path.with_suffix(".html")).is_file()}
    rooms = {path for path in source.rglob("*") if (path / "__init__.py").is_file()}
    whole = {room for room in rooms if set(room.rglob("*.py")) - _inits(room) <= files}
    largest = {room for room in whole if not whole & set(room.parents)}
    rest = {path for path in files if not largest & set(path.parents)}
    return sorted(str(path.relative_to(source.parents[1])) for path in largest | rest)


def _inits(room: Path) -> set[Path]:
    return set(room.rglob("__init__.py"))


def _file(module: str, source: Path) -> Path:
    parts = module.split(".")[1:]
    path = Path(*parts)
    return path / "__init__.py" if (source / path).is_dir() else path.with_suffix(".py")
