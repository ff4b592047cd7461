"""Somebody who looks at a page in the Chromium of this machine."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

DESKTOP, PHONE = (1280, 800), (390, 844)
Kind = TypeVar("Kind", bound="Looker")

_CONTRAST = """elements => {
    const canvas = document.createElement("canvas").getContext("2d", {willReadFrequently: true});
    const light = (colour) => {
        canvas.clearRect(0, 0, 1, 1); canvas.fillStyle = colour; canvas.fillRect(0, 0, 1, 1);
        const [r, g, b] = [...canvas.getImageData(0, 0, 1, 1).data].map((v) => {
            const c = v / 255;
            return c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4;
        });
        return 0.2126 * r + 0.7152 * g + 0.0722 * b;
    };
    const behind = (element) => {
        for (let e = element; e; e = e.parentElement) {
            const colour = getComputedStyle(e).backgroundColor;
            if (colour !== "rgba(0, 0, 0, 0)") return colour;
        }
        return "white";
    };
    return Math.min(...elements.map((element) => {
        const pair = [light(getComputedStyle(element).color), light(behind(element))];
        return (Math.max(...pair) + 0.05) / (Math.min(...pair) + 0.05);
    }));
}"""


@dataclass(frozen=True)
class Looker:
    """A page, what went wrong on it, and what it loaded."""

    page: Any
    errors: list[str]
    loaded: list[str]

    def fits(self) -> bool:
        """Whether nothing is wider than the window."""
        return self.page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")

    def contrast(self, selector: str) -> float:
        """Least contrast of text and background (WCAG 2) of the elements chosen."""
        return self.page.eval_on_selector_all(selector, _CONTRAST)


@contextmanager
def looker(
    browser: Any, url: str, size: tuple[int, int] = DESKTOP, kind: type[Kind] = Looker, **more: Any
) -> Iterator[Kind]:
    """Open a page in a window of this size."""
    context = browser.new_context(viewport={"width": size[0], "height": size[1]}, **more)
    page, errors, loaded = context.new_page(), [], []
    page.on(
        "console", lambda message: errors.append(message.text) if message.type == "error" else 0
    )
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.on(
        "request", lambda sent: None if sent.url.startswith("data:") else loaded.append(sent.url)
    )
    page.goto(url)
    yield kind(page, errors, loaded)
    context.close()
