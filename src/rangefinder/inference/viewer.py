"""Measured photos as a page to look at: photo, distance overlay and read-outs in one HTML file.

The page needs neither a network nor this package; `viewer.html` beside this file is its template.
"""

from __future__ import annotations

import base64
import json
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.resources import files
from io import BytesIO
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from rangefinder.common.figures import distance_ticks
from rangefinder.common.lengths import LONGEST_CM
from rangefinder.config import Interval
from rangefinder.inference.output import RAMP
from rangefinder.models.prediction import REPORTED_LEVEL, Float

MAPS = (
    *("distance_m", "near_m", "far_m", "accuracy_probability"),
    *(f"nearer_{name}" for name in ("distance_m", "share", "near_m", "far_m")),
    *(f"farther_{name}" for name in ("distance_m", "share", "near_m", "far_m")),
)
PAGE = "view.html"
_STEPS = 10_000  # stored steps in a metre, and in a probability of 1: four decimals
_LONGEST_PX = 1200  # side of what the page shows; larger photos are thinned out
_JPEG_QUALITY = 85


@dataclass(frozen=True)
class View:
    """What the page shows of one measured photo, as viewers turn it."""

    name: str  # of the photo
    model: str  # that measured it
    size_px: tuple[int, int]  # height and width of the photo
    photo: NDArray[np.uint8]  # `[H, W, 3]` sRGB
    maps: Float  # `[12, h, w]` of `MAPS` at `shown_places`; the last 8 NaN where one is possible
    corner_slopes: NDArray[np.floating]  # `[2, 2, 2]` (x, y) of `ray_slopes` at the photo's corners
    lens_m: float  # distance [m] at which the lens is
    range_m: Interval  # ends of the colour scale
    warnings: tuple[str, ...] = ()  # why it was to be refused

    def content(self) -> dict[str, Any]:
        """The same ready for JSON; a 480x360 photo takes about a megabyte."""
        height, width = self.size_px
        _, rows, columns = self.maps.shape
        ticks, unit = distance_ticks(self.range_m)
        return {
            "name": self.name,
            "model": self.model,
            "width_px": width,
            "height_px": height,
            "columns": columns,
            "rows": rows,
            "photo": f"data:image/jpeg;base64,{_text(self._jpeg(rows, columns))}",
            "maps": _text(pack(self.maps)),
            "corner_slopes": self.corner_slopes.tolist(),
            "lens_m": self.lens_m,
            "range_m": self.range_m,
            "ticks": [(distance, f"{number} {unit}") for distance, number in ticks.items()],
            "warnings": self.warnings,
        }

    def _jpeg(self, rows: int, columns: int) -> bytes:
        picture = Image.fromarray(self.photo)
        if picture.size != (columns, rows):
            picture = picture.resize((columns, rows))
        file = BytesIO()
        picture.save(file, "JPEG", quality=_JPEG_QUALITY)
        return file.getvalue()


def shown_places(size_px: tuple[int, int]) -> tuple[NDArray[np.integer], NDArray[np.integer]]:
    """Rows and columns, ascending, of a photo of this height and width that the page shows."""
    share = min(1.0, _LONGEST_PX / max(size_px))
    counts = [max(1, round(side * share)) for side in size_px]
    rows, columns = (
        ((np.arange(count) + 0.5) * side / count).astype(np.int64)
        for side, count in zip(size_px, counts, strict=True)
    )
    return rows, columns


def pack(maps: NDArray[np.floating]) -> bytes:
    """Maps `[K, h, w]` to four decimals, compressed; NaN becomes 0.

    Integers of 32 bits, as differences along rows, bytes of like weight together, deflated.
    """
    codes = np.rint(np.nan_to_num(maps.astype(np.float64)) * _STEPS).astype("<i4")
    steps = np.diff(codes, axis=-1, prepend=np.int32(0)).astype("<i4")
    return zlib.compress(steps.reshape(-1, 1).view(np.uint8).T.tobytes())


def page(views: Sequence[dict[str, Any]], server: str | None = None, model: str = "") -> str:
    """The page, as HTML.

    Args:
        views: Contents of `View` that it holds.
        server: Address that measures a photo and answers such content; None: the page takes none.
        model: Of that server.
    """
    data = {
        "views": views,
        "server": server,
        "model": model,
        "maps": MAPS,
        "steps": _STEPS,
        "level": REPORTED_LEVEL,
        "longest_cm_m": LONGEST_CM,
        "colours": [f"#{colour}" for colour in RAMP],
    }
    template = files(__package__).joinpath("viewer.html").read_text(encoding="utf-8")
    inert = json.dumps(data, allow_nan=False).replace("<", "\\u003c")  # cannot end the element
    return template.replace("$DATA", inert, 1)


def _text(content: bytes) -> str:
    return base64.b64encode(content).decode("ascii")
