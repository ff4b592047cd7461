"""The domain of photos that a model was trained on, and how a photo leaves it (domain shift).

Blur is read from the finest detail of a photo, and that is what JPEG, demosaicking, sharpening and
enlargement change. So a model's card keeps how its training photos were stored, the range of some
statistics of them (`captures.photo_statistics`), and what shifts of known kinds cost it on its
validation captures.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Annotated, Literal, Self

import numpy as np
from pydantic import Field

from rangefinder.config import Chroma, Name, Strict

Format = Literal["linear", "srgb", "jpeg", "lossy"]
CHROMA: tuple[Chroma, ...] = ("4:4:4", "4:2:2", "4:2:0")  # from full to quarter resolution
QUALITY_SLACK = 2  # estimated qualities are rounded
MARGIN = 0.25  # by which a statistic may leave its range in training / width of that range
LEAST_MARGIN = 0.1  # of the statistics, which are logarithms
WORSE = 1.1  # factor of the error from which a shift counts
UNCOVERED_LEVEL = 0.8  # of the intervals whose coverage is looked at
UNCOVERED = 0.75  # share of these that hold the truth below which it counts
DEGREES = ("brightness", "noise_floor", "fine_detail")  # statistics that tell the degree of a shift
Statistic = Annotated[float, Field(ge=-1e6, le=1e6)]
Range = tuple[Statistic, Statistic]
Mass = Annotated[float, Field(ge=0, le=1 + 1e-6)]  # rounded
Quality = Annotated[int, Field(ge=0, le=100)]
Found = tuple[str, str, str]
_JPEG = re.compile(r"jpeg (\d+) (\d:\d:\d)")


@dataclass(frozen=True)
class Storage:
    """How the file of a photo stores it; `jpeg_quality` and `chroma` of a JPEG only."""

    format: Format = "linear"  # lossy: WebP, AVIF or HEIC
    jpeg_quality: int = 100
    chroma: Chroma = "4:4:4"

    @property
    def is_lossy(self) -> bool:
        """Whether the format takes detail away."""
        return self.format in ("jpeg", "lossy")

    def __str__(self) -> str:
        jpeg = f" {self.jpeg_quality} {self.chroma}" if self.format == "jpeg" else ""
        return self.format + jpeg

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read what `str` writes."""
        if found := _JPEG.fullmatch(text):
            return cls("jpeg", int(found[1]), _chroma(found[2]))
        return cls(_format(text))


def _chroma(text: str) -> Chroma:
    return next(name for name in CHROMA if name == text)


def _format(text: str) -> Format:
    formats: tuple[Format, ...] = ("linear", "srgb", "lossy")
    return next(name for name in formats if name == text)


class Effect(Strict):
    """What a shift of some degree does to a model: measured on validation captures."""

    error_ratio: float = Field(
        ge=0, le=1e9
    )  # mean relative error / that of the captures as they are
    coverage: Mass  # share of 80 % intervals that hold the truth while they are not widened
    central: tuple[Mass, ...] = Field(
        max_length=100
    )  # as in `Calibration`: widens the intervals of such photos
    degree: Mapping[Name, Statistic] = Field(
        {}, max_length=100
    )  # medians of statistics; quality of a JPEG

    @property
    def counts(self) -> bool:
        """Whether photos of this kind are to be refused."""
        return self.error_ratio > WORSE or self.coverage < UNCOVERED


Effects = Annotated[tuple[Effect, ...], Field(max_length=100)]


@dataclass(frozen=True)
class Shift:
    """One way in which a photo differs from those of the training."""

    kind: str  # as in `PhotoDomain.effects`
    found: str  # what was seen in the photo
    effect: Effect | None = None  # what it does to the model, if known

    def __str__(self) -> str:
        if self.effect is None:
            return self.found
        if self.effect.error_ratio > WORSE:
            return f"{self.found} (error {self.effect.error_ratio:.2g} times as large)"
        return f"{self.found} (80 % intervals hold the truth in {self.effect.coverage:.0%})"


class PhotoDomain(Strict):
    """The photos that a model was trained on."""

    formats: tuple[Format, ...] = Field(max_length=20)  # of their files
    jpeg_quality: tuple[Quality, Quality] | None = None  # lowest and highest; None: no JPEG
    chroma: tuple[Chroma, ...] = Field((), max_length=20)  # of JPEGs
    statistics: Mapping[Name, Range] = Field({}, max_length=100)  # lowest and highest, by name
    effects: Mapping[Name, Effects] = Field(
        {}, max_length=100
    )  # of shifts, by kind and of some degrees

    @classmethod
    def of(cls, storages: Iterable[Storage], statistics: Iterable[Mapping[str, float]]) -> Self:
        """Domain of training photos stored so, with these statistics."""
        stored, rows = list(storages), list(statistics)
        jpegs = [one for one in stored if one.format == "jpeg"]
        qualities = [one.jpeg_quality for one in jpegs]
        names = sorted({name for row in rows for name in row})
        values = {name: [row[name] for row in rows if name in row] for name in names}
        return cls(
            formats=tuple(sorted({one.format for one in stored})),
            jpeg_quality=(min(qualities), max(qualities)) if jpegs else None,
            chroma=tuple(sorted({one.chroma for one in jpegs}, key=CHROMA.index)),
            statistics={name: (min(every), max(every)) for name, every in values.items()},
        )

    def __str__(self) -> str:
        names = {"linear": "linear light", "srgb": "8-bit sRGB", "lossy": "WebP, AVIF or HEIC"}
        listed = [names[name] for name in self.formats if name != "jpeg"]
        if self.jpeg_quality is not None:
            low, high = self.jpeg_quality
            quality = f"{low}" if low == high else f"{low}-{high}"
            listed.append(f"JPEG of quality {quality} ({', '.join(self.chroma)})")
        is_grey = self.statistics.get("grey", (0.0, 0.0)) == (1.0, 1.0)
        return " and ".join(listed) + (", grey" if is_grey else "")

    def shifts(self, storage: Storage, statistics: Mapping[str, float]) -> list[Shift]:
        """How a photo leaves the domain; shifts that cost this model next to nothing are left out.

        Args:
            storage: How its file stores it.
            statistics: See `captures.photo_statistics`.
        """
        values = {**statistics, "quality": float(storage.jpeg_quality)}
        found = []
        for kind, degree, what in self._shifts(storage, statistics):
            effect = self._effect(kind, degree, values)
            if effect is None or effect.counts:
                found.append(Shift(kind, what, effect))
        return found

    def _effect(self, kind: str, degree: str, values: Mapping[str, float]) -> Effect | None:
        """The effect of a shift of the photo's degree, interpolated between those measured."""
        known = self.effects.get(kind, ())
        is_told = degree in values and all(degree in effect.degree for effect in known)
        if len(known) < 2 or not is_told:
            return known[0] if known else None
        ordered = sorted(known, key=lambda effect: effect.degree[degree])
        steps = [effect.degree[degree] for effect in ordered]
        rows = np.array([(e.error_ratio, e.coverage, *e.central) for e in ordered])
        row = [float(np.interp(values[degree], steps, column)) for column in rows.T]
        return Effect(error_ratio=row[0], coverage=row[1], central=tuple(row[2:]))

    def _shifts(self, storage: Storage, statistics: Mapping[str, float]) -> Iterator[Found]:
        """Kinds of shift, the statistic that tells their degree, and what was seen."""
        low, high = self._outside(statistics)
        yield from _colours(low, high)
        is_dark = "brightness" in low
        if is_dark:
            yield "dark", "brightness", "it is very dark: fewer bits than its file could hold?"
        is_gamma = "noise_slope" in low and storage.format == "linear"
        if is_gamma:
            yield "gamma", "", "its noise is that of gamma-encoded light, and it is read as linear"
        jpeg = self._jpeg(storage, high)
        if jpeg is not None:
            yield jpeg
        elif not (is_dark or is_gamma or "mosaic" in high):
            yield from _detail(low, high)

    def _outside(self, statistics: Mapping[str, float]) -> tuple[set[str], set[str]]:
        """Statistics below and above their range in training."""
        low, high = set(), set()
        for name, (least, most) in self.statistics.items():
            margin = max(MARGIN * (most - least), LEAST_MARGIN)
            if name in statistics and statistics[name] < least - margin:
                low.add(name)
            if name in statistics and statistics[name] > most + margin:
                high.add(name)
        return low, high

    def _jpeg(self, storage: Storage, high: Collection[str]) -> Found | None:
        """The shift of a JPEG, also of one that was stored anew in another format."""
        coarse = jpeg_kind("4:2:0")
        if storage.format == "lossy" and "lossy" not in self.formats:
            return coarse, "noise_floor", "its format is lossy"
        if storage.format != "jpeg":
            if "blocks" not in high or "jpeg" in self.formats:
                return None
            return coarse, "noise_floor", "it has blocks of 8x8 px: it was a JPEG before"
        if self.jpeg_quality is not None:
            coarsest = max(map(CHROMA.index, self.chroma))
            is_worse = storage.jpeg_quality < self.jpeg_quality[0] - QUALITY_SLACK
            if not is_worse and CHROMA.index(storage.chroma) <= coarsest:
                return None
        found = f"it is a JPEG of quality {storage.jpeg_quality}, chroma {storage.chroma}"
        return jpeg_kind(storage.chroma), "quality", found


def _colours(low: Collection[str], high: Collection[str]) -> Iterator[Found]:
    """Shifts of how colours were sampled."""
    if "grey" in high and "mosaic" in high:
        yield "cfa", "", "it has the pattern of a colour filter array, as raw samples have"
    elif "grey" in high:
        yield "grey", "", "its three colours are the same"
    elif "mosaic" in high:
        yield "mosaic", "", "its colours were interpolated from a colour filter array"
    if "grey" in low:
        yield "coloured", "", "its three colours differ"


def _detail(low: Collection[str], high: Collection[str]) -> Iterator[Found]:
    """Shifts of the finest detail."""
    if "noise_floor" in high:
        found = "its finest detail is too strong: sharpened, less compressed, or a higher ISO?"
        yield "sharpened", "noise_floor", found
    elif "fine_detail" in low:
        found = "its finest detail is missing: enlarged, or noise was removed?"
        yield "smoothed", "fine_detail", found
    elif "chroma" in low:
        yield "half_chroma", "", "its colours have half the resolution of its light"


def jpeg_kind(chroma: Chroma) -> str:
    """Kind of the shift of JPEGs with full, or with coarser chroma."""
    return "jpeg_444" if chroma == CHROMA[0] else "jpeg_420"
