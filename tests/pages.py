"""What an HTML page holds: sections, tables, pictures, and everything that it would load."""

from __future__ import annotations

import base64
import re
from html.parser import HTMLParser

INLINE = ("a", "b", "code")
PNG = "data:image/png;base64,"


class Page(HTMLParser):
    """A page that was read.

    Attributes:
        text: All of its text, in one line.
        sections: Titles of its sections.
        tables: Rows of cells of each table.
        pictures: Content of each PNG, by its alternative text.
        addresses: Values of attributes that a browser loads or follows, but for pictures inside.
    """

    def __init__(self, source: str) -> None:
        super().__init__()
        self.sections: list[str] = []
        self.tables: list[list[list[str]]] = []
        self.pictures: dict[str, bytes] = {}
        self.addresses: list[str] = re.findall(r"url\(|@import", source)
        self._within: list[str] = []
        self._texts: list[str] = []
        self.feed(source)
        self.text = re.sub(r"\s+", " ", "".join(self._texts))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = {name: value or "" for name, value in attrs}
        if tag == "img":
            assert found["src"].startswith(PNG)
            assert found["alt"] not in self.pictures
            self.pictures[found["alt"]] = base64.b64decode(found["src"].removeprefix(PNG))
        else:
            self.addresses += [found[name] for name in ("src", "href", "srcset") if name in found]
        if tag == "table":
            self.tables.append([])
        elif tag == "tr":
            self.tables[-1].append([])
        elif tag in ("td", "th"):
            self.tables[-1][-1].append("")
        elif tag == "h2":
            self.sections.append("")
        self._texts.append("" if tag in INLINE else " ")
        self._within.append(tag)

    def handle_endtag(self, tag: str) -> None:
        while self._within and self._within.pop() != tag:
            pass

    def handle_data(self, data: str) -> None:
        if "style" in self._within:
            return
        self._texts.append(data)
        if "h2" in self._within:
            self.sections[-1] += data
        if {"td", "th"} & set(self._within):
            self.tables[-1][-1][-1] += data

    def table(self, heading: str) -> dict[str, list[str]]:
        """Rows, by their first cell, of the table whose first heading this is."""
        (found,) = [table for table in self.tables if table[0][0] == heading]
        return {row[0]: row[1:] for row in found}
