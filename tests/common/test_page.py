"""A page that needs nothing else: parts are shown as they are, escaped, and nothing is loaded."""

from __future__ import annotations

import io

import pytest
from PIL import Image
from rich.text import Text

from rangefinder.common.page import Facts, Grid, Notice, Numbers, Picture, Section, page
from rangefinder.evaluation.report import text_table

from ..pages import Page


def png(width: int) -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (width, 4), "red").save(file, "PNG")
    return file.getvalue()


@pytest.fixture(scope="module")
def source() -> str:
    rows = [("<a>", Text("0.1", "bold")), ("b", Text.styled("0.2", ""))]
    parts = [
        "Run `kedro run` <now>",
        Numbers([("11 %", "error", "of the distance")]),
        Notice("bad", "Refused & broken."),
        Grid(text_table(("model", "AbsRel"), rows), "Scores"),
        Picture(png(300), "a narrow one"),
        Picture(png(1600), 'a "wide" one', "It is wide."),
        Facts("captures `abc`", {"number": "7"}),
        Facts("commit", {}, "made from"),
    ]
    return page("A <title>", "What `it` is.", [Section("First part", parts), Section("Rest", [])])


def test_parts_are_there(source):
    read = Page(source)
    assert read.sections == ["First part", "Rest"]
    assert read.table("model") == {"model": ["AbsRel"], "<a>": ["0.1"], "b": ["0.2"]}
    assert read.pictures == {"a narrow one": png(300), 'a "wide" one': png(1600)}
    for text in ("A <title>", "Run kedro run <now>", "11 %", "Refused & broken.", "made from"):
        assert text in read.text


def test_text_is_no_markup_and_code_is(source):
    assert "<now>" not in source
    assert "<code>kedro run</code> &lt;now&gt;" in source
    assert "<b>0.1</b>" in source
    assert "<b>0.2</b>" not in source


def test_nothing_is_loaded(source):
    assert set(Page(source).addresses) == {"data:,", "#first-part", "#rest"}
    assert "default-src 'none'" in source
    assert "<script" not in source


def test_only_wide_pictures_are_scrolled_on_a_phone(source):
    assert source.count('<figure class="wide">') == 1
    assert 'alt="a narrow one" style="min-width: 126px"' in source


def test_a_single_section_needs_no_links():
    assert "<nav" not in page("a", "b", [Section("only", [])])
