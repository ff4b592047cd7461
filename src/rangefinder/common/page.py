"""A page that needs nothing else: sections of text, tables and pictures in one HTML file.

`page.html` beside this file is its template.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from typing import ClassVar, TypeAlias

from markupsafe import Markup, escape
from rich.table import Table
from rich.text import Text

_PNG_SIZE = slice(16, 20)  # width in the header
_LEAST_SHARE = 0.42  # of its width, to which a picture may shrink on a small screen
_PHONE_PX = 340  # of a phone's screen, for a picture


@dataclass(frozen=True)
class Numbers:
    """Numbers to see first: each with what it is, and a remark."""

    kind: ClassVar = "numbers"
    numbers: Sequence[tuple[str, str, str]]


@dataclass(frozen=True)
class Grid:
    """A table as for the terminal, and what it shows."""

    kind: ClassVar = "grid"
    table: Table
    caption: str

    @property
    def head(self) -> list[str]:
        """Headings of the columns."""
        return [str(column.header) for column in self.table.columns]

    @property
    def rows(self) -> list[list[tuple[str, bool]]]:
        """Cells of each row: the text, and whether it is bold."""
        columns = [list(column.cells) for column in self.table.columns]
        return [[(str(cell), _is_bold(cell)) for cell in row] for row in zip(*columns, strict=True)]


@dataclass(frozen=True)
class Picture:
    """A PNG; `alt` is for those who cannot see it."""

    kind: ClassVar = "picture"
    content: bytes
    alt: str
    caption: str = ""

    @property
    def address(self) -> str:
        """The picture itself, as an address."""
        return f"data:image/png;base64,{base64.b64encode(self.content).decode('ascii')}"

    @property
    def least_px(self) -> int:
        """Width that it keeps on a small screen [px]: labels stay readable, one scrolls."""
        return round(_LEAST_SHARE * int.from_bytes(self.content[_PNG_SIZE], "big"))

    @property
    def is_wide(self) -> bool:
        """Whether it is scrolled on a phone."""
        return self.least_px > _PHONE_PX


@dataclass(frozen=True)
class Facts:
    """What is known of one thing, by name.

    Attributes:
        link: What the one before it has to do with it, if anything.
    """

    kind: ClassVar = "facts"
    title: str
    facts: Mapping[str, str]
    link: str = ""


@dataclass(frozen=True)
class Notice:
    """A sentence that matters more than others: `good`, `bad` or `open`."""

    kind: ClassVar = "notice"
    mood: str
    text: str


Part: TypeAlias = str | Numbers | Grid | Picture | Facts | Notice


@dataclass(frozen=True)
class Section:
    """A heading and what stands below it; in texts, `code` is between backticks."""

    title: str
    parts: Sequence[Part]

    @property
    def anchor(self) -> str:
        """Its name within the page."""
        return re.sub(r"\W+", "-", self.title.lower()).strip("-")


def page(title: str, lead: str, sections: Sequence[Section]) -> str:
    """The page, as HTML.

    Args:
        title: What it is about.
        lead: A sentence or two below it.
        sections: In their order; links at the top lead to them if there are several.
    """
    from jinja2 import Environment, StrictUndefined

    source = files(__package__).joinpath("page.html").read_text(encoding="utf-8")
    environment = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters["code"] = _with_code
    return environment.from_string(source).render(title=title, lead=lead, sections=sections)


def _with_code(text: str) -> Markup:
    return Markup(re.sub("`([^`]+)`", r"<code>\1</code>", str(escape(text))))


def _is_bold(cell: object) -> bool:
    if not isinstance(cell, Text):
        return False
    return any("bold" in str(style) for style in (cell.style, *(span.style for span in cell.spans)))
