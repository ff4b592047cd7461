"""Files of a measured photo: distance map, overlay, point cloud; each written atomically."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from rangefinder.camera import Camera
from rangefinder.common.figures import distance_ticks
from rangefinder.common.files import atomic_write
from rangefinder.config import Interval
from rangefinder.coordinates import Placement
from rangefinder.models.prediction import Float, Prediction, accuracy_of
from rangefinder.optics.blur import from_lens_m, image_distance_m
from rangefinder.optics.srgb import linear_to_srgb, srgb_pixels

# Dark to light, evenly perceived, told apart by colour-blind people (viridis, CC0).
RAMP = ("440154", "472d7b", "3b528b", "2c728e", "21918c", "28ae80", "5ec962", "addc30", "fde725")
_VIRIDIS = np.array([list(bytes.fromhex(colour)) for colour in RAMP])
_WIDTH_PX = 640, 2000  # of an overlay; narrower ones could not be read
_COVERED_FROM = 0.6  # accuracy probability from which a colour covers the photo most
_COVER = (0.12, 0.75)  # opacity of colour where nothing is known, and where much is
_INK, _ALARM = (30, 30, 30), (200, 0, 0)
FORCED = "FORCED"  # start of the title of what should have been refused


def draw_overlay(
    image: Float, prediction: Prediction, range_m: Interval, title: str
) -> Image.Image:
    """Near is light, far is dark; where the model is uncertain the photo shows through.

    Args:
        image: `[3, H, W]` linear light.
        prediction: What the model predicts for it.
        range_m: Ends of the scale bar.
        title: A line above the scale bar.
    """
    share = np.clip(accuracy_of(prediction) / _COVERED_FROM, 0, 1)[..., None]
    opacity = _COVER[0] + (_COVER[1] - _COVER[0]) * share
    grey = 255 * linear_to_srgb(image.mean(axis=0))[..., None]
    mixed = grey * (1 - opacity) + distance_colours(prediction.distance_m, range_m) * opacity
    picture = Image.fromarray(mixed.round().astype(np.uint8))
    width = min(max(picture.width, _WIDTH_PX[0]), _WIDTH_PX[1])
    picture = picture.resize((width, round(picture.height * width / picture.width)))
    bar = _scale_bar(width, range_m, title)
    sheet = Image.new("RGB", (width, picture.height + bar.height))
    sheet.paste(picture, (0, 0))
    sheet.paste(bar, (0, picture.height))
    return sheet


def distance_colours(distance_m: NDArray[np.floating], range_m: Interval) -> NDArray[np.floating]:
    """Colours `[..., 3]` 0..255 of distances, even in dioptres as blur is."""
    place = _place(distance_m, range_m) * (len(_VIRIDIS) - 1)
    return np.stack([np.interp(place, range(len(_VIRIDIS)), c) for c in _VIRIDIS.T], axis=-1)


def _place(distance_m: NDArray[np.floating], range_m: Interval) -> NDArray[np.floating]:
    """0 at the far end of the range, 1 at the near one."""
    near, far = 1 / range_m[0], 1 / range_m[1]
    return np.asarray(np.clip((1 / distance_m - far) / (near - far), 0, 1))


def _scale_bar(width: int, range_m: Interval, title: str) -> Image.Image:
    size = max(13, width // 50)
    font = ImageFont.load_default(size)
    margin, thick = 2 * size, round(1.2 * size)
    bar = Image.new("RGB", (width, round(5.2 * size)), "white")
    draw = ImageDraw.Draw(bar)
    while font.getlength(title) > width - 2 * margin:
        title = title[:-2].rstrip(".") + "."
    draw.text((margin, size // 2), title, _ALARM if title.startswith(FORCED) else _INK, font)
    top, length = round(2.1 * size), width - 2 * margin
    ramp = distance_colours(1 / np.linspace(1 / range_m[0], 1 / range_m[1], length), range_m)
    strip = Image.fromarray(ramp.round().astype(np.uint8)[None])
    bar.paste(strip.resize((length, thick)), (margin, top))
    for x, text in scale_bar_labels(range_m, length, font):
        low, half = top + thick + size // 3, font.getlength(text) / 2
        draw.line((margin + x, top + thick, margin + x, low), _INK)
        draw.text((margin + x - half, low), text, _INK, font)
    return bar


def scale_bar_labels(
    range_m: Interval, length: int, font: ImageFont.FreeTypeFont | ImageFont.ImageFont
) -> Iterator[tuple[float, str]]:
    """Place [px from the near end] and text of round distances, as many as can be read."""
    free = -math.inf
    ticks, unit = distance_ticks(range_m)
    for distance, number in ticks.items():
        x = (1 - float(_place(np.array(distance), range_m))) * (length - 1)
        text = f"{number} {unit}"
        half = font.getlength(text) / 2
        if free <= x - half:
            yield x, text
            free = x + half + font.getlength(" ")


DISTANCE, ACCURACY, OVERLAY, CLOUD = (
    "distance.tif",
    "accuracy_probability.tif",
    "overlay.png",
    "cloud.ply",
)


def write_maps(
    folder: Path, stem: str, image: Float, prediction: Prediction, range_m: Interval, title: str
) -> dict[str, Path]:
    """Write distance [m] and accuracy probability as float32 TIFF, and the overlay.

    `title`, on the overlay and in the maps' descriptions, names the model and warnings. Returns the
    files by what they are.
    """
    about = {"what": "distance", "unit": "m", "made_by": title}
    sure = {"what": "probability that the truth is within 10 % of the distance", "made_by": title}
    overlay = draw_overlay(image, prediction, range_m, title)
    return {
        "distance": atomic_write(
            folder / f"{stem}_{DISTANCE}",
            lambda path: write_float(path, prediction.distance_m, about),
        ),
        "accuracy_probability": atomic_write(
            folder / f"{stem}_{ACCURACY}",
            lambda path: write_float(path, accuracy_of(prediction), sure),
        ),
        "overlay": atomic_write(
            folder / f"{stem}_{OVERLAY}", lambda path: overlay.save(path, "PNG")
        ),
    }


def write_float(path: Path, values: Float, about: dict[str, Any]) -> None:
    """Write a map `[H, W]` as float32 TIFF; `about` becomes its description."""
    import tifffile

    tifffile.imwrite(
        path,
        values.astype(np.float32),
        photometric="minisblack",
        description=json.dumps(about),
        metadata=None,
    )


def write_png16(path: Path, values: Float, steps: float) -> None:
    """Write a map `[H, W]` as PNG of 16 bits, with so many steps in 1; more is the largest."""
    codes = np.clip(np.rint(values * np.float64(steps)), 0, 65535).astype(np.uint16)
    Image.fromarray(codes).save(path, "PNG")


def write_cloud(
    folder: Path,
    stem: str,
    image: Float,
    prediction: Prediction,
    camera: Camera,
    placement: Placement,
) -> Path:
    """Point cloud (binary PLY) in metres: x right, y down, z along the optical axis.

    Every point has a property `accuracy_probability`.
    """
    points = back_project(prediction.distance_m, camera, placement).reshape(-1, 3)
    colour = srgb_pixels(image).reshape(-1, 3).T
    fields = [(name, "<f4") for name in ("x", "y", "z", "accuracy_probability")]
    fields += [(name, "u1") for name in ("red", "green", "blue")]
    vertices = np.empty(len(points), dtype=fields)
    columns = [*points.T, accuracy_of(prediction).ravel(), *colour]
    for (name, _), values in zip(fields, columns, strict=True):
        vertices[name] = values
    kinds = {"<f4": "float", "u1": "uchar"}
    header = "\n".join(
        [
            "ply",
            "format binary_little_endian 1.0",
            f"comment metres; z from the {camera.distance_reference}, x right, y down",
            f"element vertex {len(points)}",
            *(f"property {kinds[kind]} {name}" for name, kind in fields),
            "end_header\n",
        ]
    )
    content = header.encode() + vertices.tobytes()
    return atomic_write(folder / f"{stem}_{CLOUD}", lambda path: path.write_bytes(content))


def back_project(distance_m: Float, camera: Camera, placement: Placement) -> NDArray[np.float32]:
    """Places in front of the camera `[H, W, 3]` [m] of pixels at known distances.

    A thin lens of the record's focal length, without distortion: rays go through its middle.

    Args:
        distance_m: `[H, W]` along the optical axis, from the camera record's reference.
        camera: The camera.
        placement: Where the picture sits on the sensor.
    """
    height, width = distance_m.shape
    x, y = ray_slopes(camera, placement, np.arange(width) + 0.5, np.arange(height) + 0.5)
    depth_m = from_lens_m(camera, distance_m)
    points = np.stack([x * depth_m, y[:, None] * depth_m, distance_m], axis=-1)
    return points.astype(np.float32)


def ray_slopes(
    camera: Camera, placement: Placement, x_px: NDArray[np.floating], y_px: NDArray[np.floating]
) -> tuple[NDArray[np.floating], NDArray[np.floating]]:
    """How far from the optical axis rays are per metre of depth from the lens, see `back_project`.

    Args:
        camera: The camera.
        placement: Where the picture sits on the sensor.
        x_px: Columns `[w]` [image px].
        y_px: Rows `[h]` [image px].

    Returns:
        To the right `[w]`, and down `[h]`.
    """
    per_px = camera.pixel_pitch_um * 1e-6 / image_distance_m(camera)
    x, y = (
        (origin + places * placement.scale - centre) * per_px
        for origin, places, centre in zip(
            placement.origin_px, (x_px, y_px), camera.centre_px, strict=True
        )
    )
    return x, y
