"""The table of captures and its files: writing in one go, reading."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from rangefinder.camera import Camera
from rangefinder.captures import images
from rangefinder.captures.schema import Role, validate_manifest
from rangefinder.captures.splits import Split
from rangefinder.errors import CameraMismatchError, CaptureError, ConfigError, LensError
from rangefinder.location import Placement
from rangefinder.optics.border import Blur, ThinBlur, TracedBlur
from rangefinder.workers import one_thread

if TYPE_CHECKING:
    import pandas as pd

TABLE_FILE = "captures.parquet"
CAMERA_FILE = "camera.json"
BLUR_FILE = "blur.safetensors"
FILE_COLUMNS = ("image", "distance_map", "texture_map", "valid_mask")
REPAIR = "Run ingestion again."


@dataclass(frozen=True)
class Capture:
    """One photo by one camera, with what is known about it.

    Attributes:
        image: `[3, H, W]` linear light 0..1, exact to 16 bits once stored.
        role: What the capture is for.
        scene: Name of what was photographed; never in two splits.
        split: train, validation or test.
        distance_m: Distance of the whole plane, for charts.
        distance_map: `[H, W]` metres, 0 unknown.
        texture: `[H, W]` gradient energy of the sharp source (log of linear light, per px^2).
        texture_sources: What the textures were made of; never in two splits.
        exposure: Brightest scene value / full scale.
        placement: Where the image sits on the sensor.
    """

    image: Tensor
    role: Role
    scene: str
    split: Split
    distance_m: float | None = None
    distance_map: Tensor | None = None
    texture: Tensor | None = None
    texture_sources: tuple[str, ...] = ()
    exposure: float = 1.0
    placement: Placement = field(default_factory=Placement)


@dataclass(frozen=True)
class CaptureSet:
    """Captures on disk.

    Attributes:
        folder: Where they are.
        table: Their manifest, validated, index 0..n-1.
        camera: Took them all.
        blur: How wide its lens blurs outlines: a thin lens's where nobody traced it.
    """

    folder: Path
    table: pd.DataFrame
    camera: Camera
    blur: Blur

    def __len__(self) -> int:
        """Number of captures."""
        return len(self.table)

    def select(
        self,
        role: Role | Sequence[Role] | None = None,
        split: Split | Sequence[Split] | None = None,
    ) -> CaptureSet:
        """The captures of some roles and splits, in the same order."""
        keep = self.table["role"].notna()
        for column, wanted in (("role", role), ("split", split)):
            if wanted is not None:
                keep &= self.table[column].isin([wanted] if isinstance(wanted, str) else wanted)
        return replace(self, table=self.table[keep].reset_index(drop=True))

    @property
    def digest(self) -> str:
        """Hash of which captures these are (16 hex digits), whatever their order."""
        joined = "\n".join(sorted(self.table["capture_id"]))
        return hashlib.sha256(joined.encode()).hexdigest()[:16]

    def row(self, index: int) -> Mapping[str, Any]:
        """The manifest row of capture `index` (0-based), missing values as None."""
        values = self.table.iloc[index].to_dict()
        return {str(name): None if value != value else value for name, value in values.items()}

    def image(self, index: int) -> Tensor:
        """Picture of capture `index`: `[3, H, W]` float32 linear light 0..1."""
        row = self.row(index)
        picture = images.read_linear(self.folder / row["image"])
        return self._checked(picture, row, "image")

    def distance_map(self, index: int) -> Tensor:
        """True distances of capture `index`: `[H, W]` float32 metres, 0 unknown.

        Raises:
            CaptureError: If nothing is known about its distance.
        """
        row = self.row(index)
        if row["distance_map"] is None and row["distance_m"] is None:
            raise CaptureError(f"capture {row['capture_id']} has no distance")
        if row["distance_map"] is None:
            return torch.full((row["height_px"], row["width_px"]), row["distance_m"])
        distance_m = images.read_distance_png(self.folder / row["distance_map"])
        if row["valid_mask"] is not None:
            distance_m = distance_m * images.read_mask(self.folder / row["valid_mask"])
        return self._checked(distance_m, row, "distance map")

    def texture(self, index: int) -> Tensor | None:
        """Gradient energy of the sharp source `[H, W]`, or None where there was no such source."""
        row = self.row(index)
        if row["texture_map"] is None:
            return None
        return self._checked(images.read_map(self.folder / row["texture_map"]), row, "texture map")

    def placement(self, index: int) -> Placement:
        """Where capture `index` sits on the sensor."""
        row = self.row(index)
        return Placement((row["origin_x_px"], row["origin_y_px"]), row["scale"])

    def _checked(self, values: Tensor, row: Mapping[str, Any], what: str) -> Tensor:
        expected = (row["height_px"], row["width_px"])
        if tuple(values.shape[-2:]) != expected:
            raise CaptureError(
                f"{what} of capture {row['capture_id']} has the wrong size",
                got=tuple(values.shape[-2:]),
                expected=f"{expected} (height, width)",
                todo=REPAIR,
            )
        return values


def capture_id(image: Tensor, placement: Placement, camera: Camera) -> str:
    """Content hash (16 hex digits) of pixels, place on the sensor and camera."""
    digest = hashlib.sha256(images.quantise(image).tobytes())
    digest.update(f"{tuple(image.shape)} {placement} {camera.fingerprint}".encode())
    return digest.hexdigest()[:16]


def write_captures(
    folder: Path, camera: Camera, captures: Iterable[Capture], blur: TracedBlur | None = None
) -> CaptureSet:
    """Write captures as they come, then put them in place of what the folder held.

    Args:
        folder: Where the set goes. What is there stays untouched until everything is written.
        camera: The camera of all captures.
        captures: May be endless-lazy: one at a time is held in memory.
        blur: How wide its lens blurs outlines; None: as a thin one.

    Raises:
        CaptureError: If there are no captures, two are alike, or splits are not kept apart.
    """
    import pandas as pd

    partial = folder.with_name(f".{folder.name}.partial")
    previous = folder.with_name(f".{folder.name}.previous")
    _remove(partial)
    try:
        for name in ("images", "distance", "texture"):
            (partial / name).mkdir(parents=True)
        rows = [_write_capture(partial, camera, capture) for capture in captures]
        if not rows:
            raise CaptureError("there are no captures to write", expected="at least one")
        table = validate_manifest(pd.DataFrame(rows), str(folder))
        table.to_parquet(partial / TABLE_FILE, index=False)
        camera.save(partial / CAMERA_FILE)
        if blur is not None:
            blur.save(partial / BLUR_FILE)
        _swap(partial, folder, previous)
    finally:
        _remove(partial)
    return CaptureSet(folder, table, camera, blur or ThinBlur(camera))


def _swap(partial: Path, folder: Path, previous: Path) -> None:
    if folder.exists():
        _remove(previous)
        folder.rename(previous)
    partial.rename(folder)
    _remove(previous)


def _remove(folder: Path) -> None:
    if folder.exists():
        shutil.rmtree(folder)


@one_thread()
def _write_capture(folder: Path, camera: Camera, capture: Capture) -> dict[str, Any]:
    """Write one capture's files and return its manifest row, while others render the next ones."""
    name = capture_id(capture.image, capture.placement, camera)
    row: dict[str, Any] = {"capture_id": name, "image": f"images/{name}.tif"}
    images.write_linear(folder / row["image"], capture.image)
    row |= {"role": capture.role, "distance_m": capture.distance_m, "distance_map": None}
    if capture.distance_map is not None:
        row["distance_map"] = f"distance/{name}.png"
        images.write_distance_png(folder / row["distance_map"], capture.distance_map)
    row |= {"texture_map": None, "valid_mask": None}
    if capture.texture is not None:
        row["texture_map"] = f"texture/{name}.tif"
        images.write_map(folder / row["texture_map"], capture.texture)
    x, y = capture.placement.origin_px
    row |= {"scene": capture.scene, "split": capture.split}
    row |= {"texture_sources": ";".join(capture.texture_sources)}
    row |= {"origin_x_px": x, "origin_y_px": y, "scale": capture.placement.scale}
    row |= {"exposure": capture.exposure, "camera": camera.fingerprint}
    return row | {"width_px": capture.image.shape[-1], "height_px": capture.image.shape[-2]}


def read_captures(folder: Path) -> CaptureSet:
    """Read a set of captures.

    Raises:
        CaptureError: If the folder is no set of captures, or its manifest or files do not fit.
        CameraMismatchError: If a capture is of another camera than the set's.
    """
    import pandas as pd

    try:
        table = pd.read_parquet(folder / TABLE_FILE)
        camera = Camera.load(folder / CAMERA_FILE)
        blur = _read_blur(folder / BLUR_FILE, camera)
    except CameraMismatchError:
        raise
    except (OSError, ValueError, ConfigError, LensError) as exc:
        raise CaptureError(f"{folder} is no set of captures ({exc})", todo=REPAIR) from exc
    table = validate_manifest(table, str(folder))
    for fingerprint in table["camera"].unique():
        camera.require(fingerprint, f"a capture of {folder}")
    return CaptureSet(folder, table, camera, blur)


def _read_blur(path: Path, camera: Camera) -> Blur:
    return TracedBlur.load(path) if path.is_file() else ThinBlur(camera)
