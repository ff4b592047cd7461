"""Capture sets on disk: manifest and its schema, atomic writing, reading whole or in parts."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from rangefinder.camera import RECORD_FILE, Camera
from rangefinder.captures import images
from rangefinder.captures.distance_maps import read_stored, write_stored
from rangefinder.captures.formats import TIFF_SUFFIXES
from rangefinder.captures.map_formats import read_mask
from rangefinder.captures.splits import SPLITS, Split, check_splits
from rangefinder.common.compute import one_thread
from rangefinder.common.files import new_folder, restore_folder
from rangefinder.common.foreign import guarded
from rangefinder.coordinates import Placement
from rangefinder.errors import CaptureError, ConfigError, LensError
from rangefinder.optics.blur import Blur, ThinBlur, TracedBlur
from rangefinder.photo_domain import Storage

if TYPE_CHECKING:
    import pandas as pd
    import pandera.pandas as pa


Source = Literal["simulated", "photographed"]
SOURCES: tuple[Source, ...] = get_args(Source)
Role = Literal["chart", "labelled", "unlabelled", "rgbd"]
ROLES: tuple[Role, ...] = get_args(Role)
Samples = NDArray[np.uint16]
TABLE_FILE = "captures.parquet"
BLUR_FILE = "blur.safetensors"
FILE_COLUMNS = ("image", "distance_map", "texture_map", "valid_mask")
REPAIR = "Run ingestion again."
KEEP_BYTES = 2**30  # memory for decoded pictures of formats that cannot be read in parts


@cache
def manifest_schema() -> pa.DataFrameSchema:
    """The pandera schema of the manifest."""
    import pandera.pandas as pa

    file = pa.Check.str_matches(r"^(?!/)(?!.*\.\.).+$", error="a path inside the set's folder")
    positive = pa.Check.gt(0)
    columns = {
        "capture_id": pa.Column(str, pa.Check.str_matches(r"^[0-9a-f]{16}$"), unique=True),
        "image": pa.Column(str, file),
        "role": pa.Column(str, pa.Check.isin(ROLES)),
        "distance_m": pa.Column(float, positive, nullable=True),
        "distance_map": pa.Column(str, file, nullable=True),
        "texture_map": pa.Column(str, file, nullable=True),
        "valid_mask": pa.Column(str, file, nullable=True),
        "scene": pa.Column(str, pa.Check.str_length(min_value=1)),
        "split": pa.Column(str, pa.Check.isin(SPLITS)),
        "texture_sources": pa.Column(str),
        "origin_x_px": pa.Column(float),
        "origin_y_px": pa.Column(float),
        "scale": pa.Column(float, positive),
        "exposure": pa.Column(float, positive),
        "storage": pa.Column(str, pa.Check.str_matches(r"^(linear|srgb|lossy|jpeg \d+ 4:\d:\d)$")),
        "width_px": pa.Column(int, positive),
        "height_px": pa.Column(int, positive),
        "camera": pa.Column(str, pa.Check.str_matches(r"^[0-9a-f]{16}$")),
    }
    return pa.DataFrameSchema(columns, index=pa.Index(int), coerce=True, strict=True)


def validate_manifest(table: pd.DataFrame, owner: str) -> pd.DataFrame:
    """Check a manifest: columns, one label per labelled capture, splits apart.

    Raises:
        CaptureError: Naming `owner` and what is wrong.
    """
    import pandera.errors

    try:
        table = manifest_schema().validate(table.reset_index(drop=True), lazy=True)
    except pandera.errors.SchemaErrors as exc:
        cases = exc.failure_cases[["column", "check", "failure_case"]].head(5)
        listed = "; ".join(f"{c}: {f!r} fails {k}" for c, k, f in cases.itertuples(index=False))
        raise CaptureError(f"{owner} does not fit the manifest's schema ({listed})") from exc
    charts = table["role"].eq("chart")
    mapped = table["role"].isin(["labelled", "rgbd"])
    for rows, column in ((charts, "distance_m"), (mapped, "distance_map")):
        missing = table.loc[rows & table[column].isna(), "capture_id"]
        if len(missing):
            raise CaptureError(
                f"{owner}: {len(missing)} captures lack their {column}", got=", ".join(missing[:5])
            )
    sources = [tuple(filter(None, text.split(";"))) for text in table["texture_sources"]]
    check_splits(zip(table["split"], table["scene"], sources, strict=True))
    return table


@dataclass(frozen=True)
class Capture:
    """One photo by one camera, and its labels.

    Attributes:
        texture: `[H, W]` gradient energy of the sharp source (log of linear light, per px^2).
    """

    image: Tensor  # `[3, H, W]` linear light 0..1, exact to 16 bits once stored
    role: Role  # use of the capture
    scene: str  # name of the scene; never in two splits
    split: Split  # train, validation or test
    distance_m: float | None = None  # distance of the whole plane, for charts
    distance_map: Tensor | None = None  # `[H, W]` metres, 0 unknown
    texture: Tensor | None = None
    texture_sources: tuple[str, ...] = ()  # sources of the textures; never in two splits
    exposure: float = 1.0  # brightest scene value / full scale
    storage: Storage = field(default_factory=Storage)  # how its file stored it
    placement: Placement = field(default_factory=Placement)  # where the image sits on the sensor


@dataclass(frozen=True)
class CaptureSet:
    """Captures on disk."""

    folder: Path  # their folder
    table: pd.DataFrame  # their manifest, validated, index 0..n-1
    camera: Camera  # the camera of all of them
    blur: Blur  # blur diameter of its lens; that of a thin lens where it was not traced

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
        """Hash of the capture ids (16 hex digits), independent of their order."""
        return fingerprint_of(self.table["capture_id"])

    @property
    def sources(self) -> list[Source]:
        """How each capture was made; of rendered ones the manifest has textures or their energy."""
        is_rendered = self.table["texture_map"].notna() | self.table["texture_sources"].ne("")
        return ["simulated" if rendered else "photographed" for rendered in is_rendered]

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
            CaptureError: If it has no distance.
        """
        row = self.row(index)
        if row["distance_map"] is None and row["distance_m"] is None:
            raise CaptureError(f"capture {row['capture_id']} has no distance")
        if row["distance_map"] is None:
            return torch.full((row["height_px"], row["width_px"]), row["distance_m"])
        distance_m = read_stored(self.folder / row["distance_map"])
        if row["valid_mask"] is not None:
            distance_m = distance_m * torch.from_numpy(read_mask(self.folder / row["valid_mask"]))
        return self._checked(distance_m, row, "distance map")

    def texture(self, index: int) -> Tensor | None:
        """Gradient energy of the sharp source `[H, W]`; None without such a source."""
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


def fingerprint_of(capture_ids: Iterable[str]) -> str:
    """Hash of capture ids (16 hex digits), independent of their order."""
    return hashlib.sha256("\n".join(sorted(capture_ids)).encode()).hexdigest()[:16]


def capture_id(image: Tensor, placement: Placement, camera: Camera) -> str:
    """Content hash (16 hex digits) of pixels, place on the sensor and camera."""
    digest = hashlib.sha256(images.quantise(image).tobytes())
    digest.update(f"{tuple(image.shape)} {placement} {camera.fingerprint}".encode())
    return digest.hexdigest()[:16]


def write_captures(
    folder: Path, camera: Camera, captures: Iterable[Capture], blur: TracedBlur | None = None
) -> CaptureSet:
    """Write captures one by one, then replace the folder in one step.

    Args:
        folder: Of the set. Its content stays untouched until everything is written.
        camera: The camera of all captures.
        captures: Evaluated lazily: one at a time is held in memory.
        blur: Blur diameter of its lens; None: that of a thin one.

    Raises:
        CaptureError: If there are no captures, two are alike, or splits are not kept apart.
    """
    import pandas as pd

    with new_folder(folder) as partial:
        for name in ("images", "distance", "texture"):
            (partial / name).mkdir()
        rows = [_write_capture(partial, camera, capture) for capture in captures]
        if not rows:
            raise CaptureError("there are no captures to write", expected="at least one")
        table = validate_manifest(pd.DataFrame(rows), str(folder))
        table.to_parquet(partial / TABLE_FILE, index=False)
        camera.save(partial / RECORD_FILE)
        if blur is not None:
            blur.save(partial / BLUR_FILE)
    return CaptureSet(folder, table, camera, blur or ThinBlur(camera))


@one_thread()
def _write_capture(folder: Path, camera: Camera, capture: Capture) -> dict[str, Any]:
    """Write one capture's files; its manifest row."""
    name = capture_id(capture.image, capture.placement, camera)
    row: dict[str, Any] = {
        "capture_id": name,
        "image": f"images/{name}.tif",
        "role": capture.role,
        "distance_m": capture.distance_m,
        "distance_map": None,
        "texture_map": None,
        "valid_mask": None,
        "scene": capture.scene,
        "split": capture.split,
        "texture_sources": ";".join(capture.texture_sources),
        "origin_x_px": capture.placement.origin_px[0],
        "origin_y_px": capture.placement.origin_px[1],
        "scale": capture.placement.scale,
        "exposure": capture.exposure,
        "storage": str(capture.storage),
        "camera": camera.fingerprint,
        "width_px": capture.image.shape[-1],
        "height_px": capture.image.shape[-2],
    }
    images.write_linear(folder / row["image"], capture.image)
    if capture.distance_map is not None:
        stored = write_stored(folder / "distance" / name, capture.distance_map)
        row["distance_map"] = f"distance/{stored.name}"
    if capture.texture is not None:
        row["texture_map"] = f"texture/{name}.tif"
        images.write_map(folder / row["texture_map"], capture.texture)
    return row


def read_captures(folder: Path) -> CaptureSet:
    """Read a set of captures.

    Raises:
        CaptureError: If the folder is no set of captures, or its manifest or files do not fit.
        CameraMismatchError: If a capture is of another camera than the set's.
    """
    import pandas as pd

    restore_folder(folder)
    try:
        with guarded(CaptureError, f"{folder} is no set of captures", todo=REPAIR):
            table = pd.read_parquet(folder / TABLE_FILE)
            camera = Camera.load(folder / RECORD_FILE)
            blur_file = folder / BLUR_FILE
            blur = TracedBlur.load(blur_file) if blur_file.is_file() else ThinBlur(camera)
    except (ConfigError, LensError) as exc:
        raise CaptureError(f"{folder} is no set of captures ({exc})", todo=REPAIR) from exc
    table = validate_manifest(table, str(folder))
    for fingerprint in table["camera"].unique():
        camera.require(fingerprint, f"a capture of {folder}")
    return CaptureSet(folder, table, camera, blur)


class Pixels:
    """Pictures of captures as 16-bit linear light, whole or in parts.

    Uncompressed 16-bit TIFF, the format captures are written in, is memory-mapped (files are
    replaced, never changed). Other pictures are decoded once and kept, up to `KEEP_BYTES`.
    """

    def __init__(self, captures: CaptureSet) -> None:
        table = captures.table
        self.captures = captures
        self.sizes = [
            (int(h), int(w)) for h, w in zip(table["height_px"], table["width_px"], strict=True)
        ]
        self.placements = [captures.placement(index) for index in range(len(captures))]
        self._paths = [captures.folder / name for name in table["image"]]
        self._maps: dict[int, Samples | None] = {}
        self._kept: dict[int, Tensor] = {}
        self._kept_bytes = 0

    def crop(self, index: int, top: int, left: int, height: int, width: int) -> Tensor:
        """A part of picture `index`: `[3, height, width]` float32 linear light 0..1.

        Raises:
            CaptureError: If the picture cannot be read or has another size than in its row.
        """
        if index not in self._maps:
            self._maps[index] = _mapped(self._paths[index], self.sizes[index])
        samples = self._maps[index]
        if samples is None:
            samples = self._decoded(index).numpy()
        part = samples[top : top + height, left : left + width]
        planes = part.transpose(2, 0, 1).astype(np.uint16, order="C")
        return torch.from_numpy(planes).float().div_(images.FULL_SCALE)

    def same_placement(self, wanted: Sequence[bool]) -> list[list[int]]:
        """Indices of the wanted pictures in groups of one size at one place of the sensor."""
        groups: dict[object, list[int]] = {}
        for index in np.flatnonzero(wanted).tolist():
            groups.setdefault((self.sizes[index], self.placements[index]), []).append(index)
        return list(groups.values())

    def _decoded(self, index: int) -> Tensor:
        if index in self._kept:
            return self._kept[index]
        picture = torch.from_numpy(images.quantise(self.captures.image(index)))
        if self._kept_bytes + picture.nbytes <= KEEP_BYTES:
            self._kept[index] = picture
            self._kept_bytes += picture.nbytes
        return picture


def _mapped(path: Path, size: tuple[int, int]) -> Samples | None:
    """Memory map `[H, W, 3]` of a picture of `size`; None if it is stored in another way."""
    if path.suffix.lower() not in TIFF_SUFFIXES:
        return None
    import tifffile

    try:
        with tifffile.TiffFile(path) as file:
            page = file.pages.first
            plain = page.is_memmappable and page.dtype == np.uint16 and page.shape == (*size, 3)
            if not plain:
                return None
            start = page.dataoffsets[0]
            return np.memmap(path, f"{file.byteorder}u2", "r", start, page.shape)
    except (OSError, ValueError):
        return None
