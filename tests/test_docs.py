"""Documentation: what it links to and names exists."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
from pydantic import BaseModel

from rangefinder.commands import COMMANDS, Commands, main
from rangefinder.config import Parameters
from rangefinder.pipeline_registry import register_pipelines

from .conftest import ROOT

TOP = ("README.md", "CONTRIBUTING.md", "SECURITY.md")
PAGES = (*map(ROOT.joinpath, TOP), *sorted((ROOT / "docs").rglob("*.md")))
SOURCE = ROOT / "src/rangefinder"
FENCE = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)
INLINE = re.compile(r"`([^`\n]+)`")
FILES = ("csv", "ipynb", "json", "md", "onnx", "parquet", "png", "py", "yaml", "yml")
USER = ("mycamera", "NAME")  # configurations that a reader makes
ENTRY = ("__main__", "cli", "datasets", "hooks", "pipeline_registry", "settings")  # Kedro's
pages = pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))


def prose(page: Path) -> str:
    """A page without its code blocks, whose comments look like headings."""
    return FENCE.sub("", page.read_text(encoding="utf-8"))


def code(page: Path) -> Iterator[str]:
    """Lines of code blocks, and code within sentences."""
    for block in FENCE.findall(page.read_text(encoding="utf-8")):
        yield from block.splitlines()[1:-1]
    yield from INLINE.findall(prose(page))


def anchors(page: Path) -> set[str]:
    """What a link may point to in a page."""
    heads = re.findall(r"^#+ (.+)$", prose(page), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", head.lower()).replace(" ", "-") for head in heads}


@pages
def test_links_lead_somewhere(page):
    for link in re.findall(r"\]\(([^)\s]+)\)", prose(page)):
        if "://" in link:
            continue
        name, _, anchor = link.partition("#")
        target = page.parent / name if name else page
        assert target.exists(), link
        assert not anchor or anchor in anchors(target), link


def test_comments_in_code_blocks_are_no_headings(tmp_path):
    page = tmp_path / "page.md"
    page.write_text("# Head\n\n```sh\n# comment\nmake\n```\n\n## Walk: a photo\n")
    assert anchors(page) == {"head", "walk-a-photo"}


@pages
def test_named_files_exist(page):
    for name in code(page):
        is_path = re.fullmatch(r"[\w./-]+", name) and "NAME" not in name
        if is_path and (name.startswith(("src/", "tests/", "docs/")) or name.endswith(".py")):
            assert (ROOT / name).exists() or (SOURCE / name).exists(), name


def exists(model: type[BaseModel], names: list[str]) -> bool:
    """Whether nested models have such a field."""
    field = model.model_fields.get(names[0])
    if field is None or len(names) == 1:
        return field is not None
    inner = [field.annotation, *getattr(field.annotation, "__args__", ())]
    models = [one for one in inner if isinstance(one, type) and issubclass(one, BaseModel)]
    return any(exists(one, names[1:]) for one in models)


@pages
def test_named_tests_exist(page):
    for path, name in re.findall(r"(tests/[\w/]+\.py)::(\w+)", page.read_text(encoding="utf-8")):
        assert f"\ndef {name}(" in (ROOT / path).read_text(encoding="utf-8"), name


@pages
def test_named_parameters_exist(page):
    sections = "|".join(Parameters.model_fields)
    pattern = re.compile(rf"(?<![\w./-])(?:{sections})(?:\.[a-z]\w*)+")
    for line in code(page):
        for found in pattern.findall(line):
            names = found.split(".")
            assert names[-1] in FILES or exists(Parameters, names), found


@pages
def test_named_commands_and_their_options_exist(page):
    context = click.Context(main)
    assert isinstance(main, Commands)
    for line in code(page):
        called = re.match(r"(?:\S*/)?rangefinder ([a-z][a-z-]*)(.*)", line)
        if called is None:
            continue
        name, rest = called.groups()
        assert name in COMMANDS, line
        command = main.get_command(context, name)
        known = {option for parameter in command.params for option in parameter.opts}
        assert set(re.findall(r"--[a-z-]+", rest)) <= known, line


@pages
def test_named_pipelines_and_environments_exist(page):
    for line in code(page):
        if "kedro run" not in line:
            continue
        for names in re.findall(r"--pipelines? ([a-z_,]+)", line):
            assert set(names.split(",")) <= set(register_pipelines()), line
        for name in re.findall(r"--env (\w+)", line):
            assert name in USER or (ROOT / "conf" / name).is_dir(), line


def test_api_pages_list_every_module():
    listed = re.findall(
        r"^::: rangefinder\.(\S+)$",
        "\n".join(page.read_text() for page in sorted((ROOT / "docs/api").glob("*.md"))),
        re.MULTILINE,
    )
    paths = [path.relative_to(SOURCE) for path in SOURCE.rglob("*.py")]
    modules = {".".join(path.with_suffix("").parts) for path in paths if path.stem != "__init__"}
    assert modules - set(listed) == set(ENTRY)
    public = {name for name in listed if re.search(r"\.[A-Z]\w+$|^load_model$", name)}
    packages = {name for name in listed if (SOURCE / name.replace(".", "/")).is_dir()}
    assert set(listed) <= modules | public | packages
