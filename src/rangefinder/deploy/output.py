"""Files of one measured photo; each appears only when it is whole."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from rangefinder.camera import Camera
from rangefinder.captures.images import srgb_pixels
from rangefinder.config import Interval
from rangefinder.deploy.measure import Measurement
from rangefinder.deploy.overlay import draw_overlay
from rangefinder.evaluation.metrics import Float
from rangefinder.files import write_whole
from rangefinder.location import Placement
from rangefinder.optics.geometry import from_lens_m, image_distance_m

DISTANCE, CONFIDENCE, OVERLAY, CLOUD = "distance.tif", "confidence.tif", "overlay.png", "cloud.ply"


def write_maps(
    folder: Path, stem: str, image: Tensor, measurement: Measurement, range_m: Interval, title: str
) -> dict[str, Path]:
    """Distance [m] and confidence as float32 TIFF, and the overlay.

    Args:
        folder: Where files go.
        stem: Start of their names.
        image: `[3, H, W]` linear light.
        measurement: What the model says of it.
        range_m: Ends of the overlay's scale bar.
        title: What the overlay and the maps' descriptions say: model, and warnings.

    Returns:
        The files by what they are.
    """
    about = {"what": "distance", "unit": "m", "made_by": title}
    sure = {"what": "probability that the truth is within 10 % of the distance", "made_by": title}
    overlay = draw_overlay(image, measurement, range_m, title)
    return {
        "distance": write_whole(
            folder / f"{stem}_{DISTANCE}",
            lambda path: _write_float(path, measurement.ranging.distance_m, about),
        ),
        "confidence": write_whole(
            folder / f"{stem}_{CONFIDENCE}",
            lambda path: _write_float(path, measurement.confidence, sure),
        ),
        "overlay": write_whole(
            folder / f"{stem}_{OVERLAY}", lambda path: overlay.save(path, "PNG")
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
    measurement: Measurement,
    camera: Camera,
    placement: Placement,
) -> Path:
    """Point cloud (binary PLY) in metres: x right, y down, z along the optical axis.

    A property `confidence` of every point tells how far it can be trusted.
    """
    points = back_project(measurement.ranging.distance_m, camera, placement).reshape(-1, 3)
    colour = srgb_pixels(image).reshape(-1, 3).T
    fields = [(name, "<f4") for name in ("x", "y", "z", "confidence")]
    fields += [(name, "u1") for name in ("red", "green", "blue")]
    vertices = np.empty(len(points), dtype=fields)
    columns = [*points.T, measurement.confidence.ravel(), *colour]
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
    return write_whole(folder / f"{stem}_{CLOUD}", lambda path: path.write_bytes(content))


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
