"""Files of a measured photo: distance map, overlay, point cloud; each written atomically."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from numpy.typing import NDArray
from torch import Tensor

from rangefinder.camera import Camera
from rangefinder.common.figures import distance_ticks_m, new_figure
from rangefinder.common.files import atomic_write
from rangefinder.config import Interval
from rangefinder.coordinates import Placement
from rangefinder.models.distribution import Float, Prediction
from rangefinder.optics.blur import from_lens_m, image_distance_m
from rangefinder.optics.sensor import linear_to_srgb, srgb_pixels

_WIDTH_IN, _BAR_IN = 8.0, 1.0  # of the overlay; of its title and scale bar
_COVERED_FROM = 0.6  # accuracy probability from which a colour covers the photo most
_COVER = (0.12, 0.75)  # opacity of colour where nothing is known, and where much is
_TICK_GAP = 0.04  # least one between two distances on the scale bar / its length
_ALARM = "#c80000"
FORCED = "FORCED"  # start of the title of what should have been refused


def accuracy_of(prediction: Prediction) -> Float:
    """The accuracy probability `[H, W]` of a prediction that was asked for it."""
    assert prediction.accuracy_probability is not None
    return prediction.accuracy_probability


def draw_overlay(image: Tensor, prediction: Prediction, range_m: Interval, title: str) -> Figure:
    """Near is light, far is dark; where the model is uncertain the photo shows through.

    Args:
        image: `[3, H, W]` linear light.
        prediction: What the model predicts for it.
        range_m: Ends of the scale bar.
        title: A line above the photo.
    """
    height, width = prediction.distance_m.shape
    figure = new_figure(_WIDTH_IN, _WIDTH_IN * height / width + _BAR_IN)
    axes = figure.subplots()
    axes.imshow(linear_to_srgb(image.mean(dim=0).numpy()), cmap="gray", vmin=0, vmax=1)
    share = np.clip(accuracy_of(prediction) / _COVERED_FROM, 0, 1)
    scale = Normalize(1 / range_m[1], 1 / range_m[0])  # even in dioptres, as blur is
    opacity = _COVER[0] + (_COVER[1] - _COVER[0]) * share
    axes.imshow(1 / prediction.distance_m, cmap="viridis", norm=scale, alpha=opacity)
    axes.set(xticks=[], yticks=[])
    ink = _ALARM if title.startswith(FORCED) else "black"
    axes.set_title(title, loc="left", color=ink, fontsize=7, wrap=True)
    ticks: list[float] = []
    for tick in distance_ticks_m(range_m):  # as many as can be read
        if not ticks or scale(1 / ticks[-1]) - scale(1 / tick) > _TICK_GAP:
            ticks.append(tick)
    colours = ScalarMappable(scale, "viridis")
    bar = figure.colorbar(colours, ax=axes, orientation="horizontal", aspect=40, pad=0.02)
    bar.set_ticks([1 / tick for tick in ticks], labels=[f"{tick:g} m" for tick in ticks])
    return figure


DISTANCE, ACCURACY, OVERLAY, CLOUD = (
    "distance.tif",
    "accuracy_probability.tif",
    "overlay.png",
    "cloud.ply",
)


def write_maps(
    folder: Path, stem: str, image: Tensor, prediction: Prediction, range_m: Interval, title: str
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
            lambda path: _write_float(path, prediction.distance_m, about),
        ),
        "accuracy_probability": atomic_write(
            folder / f"{stem}_{ACCURACY}",
            lambda path: _write_float(path, accuracy_of(prediction), sure),
        ),
        "overlay": atomic_write(
            folder / f"{stem}_{OVERLAY}", lambda path: overlay.savefig(path, format="png")
        ),
    }


def _write_float(path: Path, values: Float, about: dict[str, Any]) -> None:
    import tifffile

    tifffile.imwrite(
        path,
        values.astype(np.float32),
        photometric="minisblack",
        description=json.dumps(about),
        metadata=None,
    )


def write_cloud(
    folder: Path,
    stem: str,
    image: Tensor,
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
    image_m = image_distance_m(camera)
    depth_m = from_lens_m(camera, distance_m)
    height, width = distance_m.shape
    pitch_m = camera.pixel_pitch_um * 1e-6
    x = placement.origin_px[0] + (np.arange(width) + 0.5) * placement.scale - camera.centre_px[0]
    y = placement.origin_px[1] + (np.arange(height) + 0.5) * placement.scale - camera.centre_px[1]
    slope = depth_m * (pitch_m / image_m)
    return np.stack([x * slope, y[:, None] * slope, distance_m], axis=-1).astype(np.float32)
