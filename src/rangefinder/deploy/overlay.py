"""A photo under its distances as colours, with a scale bar in metres."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from rangefinder.captures.images import linear_to_srgb
from rangefinder.config import Interval
from rangefinder.deploy.measure import Measurement

# Dark to light, evenly perceived, told apart by colour-blind people (viridis, CC0).
_RAMP = ("440154", "472d7b", "3b528b", "2c728e", "21918c", "28ae80", "5ec962", "addc30", "fde725")
_ROUND_M = (0.1, 0.2, 0.3, 0.5, 0.7, 1, 1.5, 2, 3, 4, 5, 7, 10, 20, 50, 100)
_SMALLEST_PX = 640  # width below which a photo is enlarged, so that the writing can be read
_LARGEST_PX = 2000
_SURE = 0.6  # confidence at which a colour covers the photo most
_COVER = (0.12, 0.75)  # share of colour where nothing is known, and where much is
_INK, _ALARM, _PAPER = (30, 30, 30), (200, 0, 0), (255, 255, 255)
FORCED = "FORCED"  # start of the title of what should have been refused


def draw_overlay(
    image: Tensor, measurement: Measurement, range_m: Interval, title: str
) -> Image.Image:
    """Near is light, far is dark; where the model is unsure the photo shows through.

    Args:
        image: `[3, H, W]` linear light.
        measurement: What the model says of it.
        range_m: Ends of the scale bar.
        title: A line above the bar.
    """
    share = np.clip(measurement.confidence / _SURE, 0, 1)[..., None]
    cover = _COVER[0] + (_COVER[1] - _COVER[0]) * share
    grey = linear_to_srgb(image.mean(dim=0).numpy())[..., None] * 255
    colour = distance_colours(measurement.ranging.distance_m, range_m)
    mixed = grey * (1 - cover) + colour * cover
    picture = Image.fromarray(mixed.round().astype(np.uint8))
    width = min(max(picture.width, _SMALLEST_PX), _LARGEST_PX)
    picture = picture.resize((width, round(picture.height * width / picture.width)))
    bar = _scale_bar(width, range_m, title)
    sheet = Image.new("RGB", (width, picture.height + bar.height), _PAPER)
    sheet.paste(picture, (0, 0))
    sheet.paste(bar, (0, picture.height))
    return sheet


def distance_colours(distance_m: NDArray[np.floating], range_m: Interval) -> NDArray[np.float32]:
    """Colours `[..., 3]` 0..255 of distances, even in dioptres as blur is."""
    stops = np.array([[int(c[i : i + 2], 16) for i in (0, 2, 4)] for c in _RAMP], dtype=np.float32)
    place = _place(distance_m, range_m) * (len(stops) - 1)
    index = np.clip(place.astype(np.intp), 0, len(stops) - 2)
    share = (place - index)[..., None]
    mixed: NDArray[np.float32] = (stops[index] * (1 - share) + stops[index + 1] * share).astype(
        np.float32
    )
    return mixed


def _place(distance_m: NDArray[np.floating], range_m: Interval) -> NDArray[np.floating]:
    """0 at the far end of the range, 1 at the near one."""
    near, far = 1 / range_m[0], 1 / range_m[1]
    return np.asarray(np.clip((1 / distance_m - far) / (near - far), 0, 1))


def _scale_bar(width: int, range_m: Interval, title: str) -> Image.Image:
    size = max(13, width // 50)
    font = ImageFont.load_default(size)
    margin, thick = 2 * size, round(1.2 * size)
    bar = Image.new("RGB", (width, round(5.2 * size)), _PAPER)
    draw = ImageDraw.Draw(bar)
    ink = _ALARM if title.startswith(FORCED) else _INK
    draw.text((margin, size // 2), _fitting(title, font, width - 2 * margin), ink, font)
    top, length = round(2.1 * size), width - 2 * margin
    places = np.linspace(1 / range_m[0], 1 / range_m[1], length)
    strip = distance_colours(1 / places, range_m).round().astype(np.uint8)
    bar.paste(Image.fromarray(np.broadcast_to(strip, (thick, length, 3)).copy()), (margin, top))
    free = 0.0
    ticks = [d for d in _ROUND_M if range_m[0] <= d <= range_m[1]]
    for distance in ticks:
        x = margin + (1 - float(_place(np.array(distance), range_m))) * (length - 1)
        text = f"{distance:g} m"
        half = font.getlength(text) / 2
        draw.line((x, top + thick, x, top + thick + size // 3), _INK)
        if x - half >= free and x + half <= width:
            draw.text((x - half, top + thick + size // 3), text, _INK, font)
            free = x + half + size / 2
    return bar


def _fitting(text: str, font: ImageFont.FreeTypeFont | ImageFont.ImageFont, width: float) -> str:
    while text and font.getlength(text) > width:
        text = text[:-2].rstrip(".") + "."
    return text
