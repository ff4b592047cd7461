"""Capture sets on disk: manifest and its schema, atomic writing, verified reading.

The manifest holds the checksum of every file of a capture, and `seal.json` those of the manifest,
the camera record and the blur. All are compared when a file is read for the first time, so a
damaged capture is named, never trained on; and the digest of a set is that of its contents.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Generator, Iterable, Mapping, Sequence
from contextlib import closing, nullcontext
from dataclasses import dataclass, field, replace
from functools import cache
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, cast, get_args

import torch
from torch import Tensor

from rangefinder.camera import RECORD_FILE, Camera
from rangefinder.captures import images
from rangefinder.captures.distance_maps import read_stored, write_stored
from rangefinder.captures.splits import SPLITS, Split, check_splits
from rangefinder.common.compute import one_thread
from rangefinder.common.files import checksum, new_folder, read_folder
from rangefinder.common.foreign import guarded, read_json
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
TABLE_FILE = "captures.parquet"
BLUR_FILE = "blur.safetensors"
SEAL_FILE = "seal.json"
FILE_COLUMNS = ("image", "distance_map", "texture_map")
CHECKSUM_COLUMNS = {name: f"{name}_sha256" for name in FILE_COLUMNS}
REPAIR = "Run ingestion again."


@cache
def manifest_schema() -> pa.DataFrameSchema:
    """The pandera schema of the manifest."""
    import pandera.pandas as pa

    file = pa.Check.str_matches(r"^(?!/)(?!.*\.\.).+$", error="a path inside the set's folder")
    content = pa.Check.str_matches(r"^[0-9a-f]{16}$", error="a checksum")
    positive = pa.Check.gt(0)
    columns = {
        "capture_id": pa.Column(str, pa.Check.str_matches(r"^[0-9a-f]{16}$"), unique=True),
        "image": pa.Column(str, file),
        "image_sha256": pa.Column(str, content),
        "role": pa.Column(str, pa.Check.isin(ROLES)),
        "distance_m": pa.Column(float, positive, nullable=True),
        "distance_map": pa.Column(str, file, nullable=True),
        "distance_map_sha256": pa.Column(str, content, nullable=True),
        "texture_map": pa.Column(str, file, nullable=True),
        "texture_map_sha256": pa.Column(str, content, nullable=True),
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
    unsealed = [(table[file].notna(), sealed) for file, sealed in CHECKSUM_COLUMNS.items()]
    for rows, column in ((charts, "distance_m"), (mapped, "distance_map"), *unsealed):
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
    _verified: set[Path] = field(default_factory=set, repr=False, compare=False)  # also by subsets

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
        """Hash of all that is stored of the captures (16 hex digits), in whatever order."""
        return checksum(self.listing.encode())

    @property
    def listing(self) -> str:
        """All that is stored of the captures, as CSV: the manifest with contents for files."""
        rows = self.table.drop(columns=list(FILE_COLUMNS)).sort_values("capture_id")
        return str(rows.to_csv(index=False, lineterminator="\n"))

    def file(self, index: int, column: str) -> Path | None:
        """A file of capture `index`, verified on first use; None if the capture has none.

        Args:
            index: Of the capture (0-based).
            column: One of `FILE_COLUMNS`.

        Raises:
            CaptureError: If the file is not what was stored.
        """
        name = self.table[column].iloc[index]
        if not isinstance(name, str):
            return None
        path = self.folder / name
        if path not in self._verified:
            _content(path, self.table[CHECKSUM_COLUMNS[column]].iloc[index])
            self._verified.add(path)
        return path

    def verify(self) -> None:
        """Verify all files, so that a damaged one is named before the captures are used.

        Raises:
            CaptureError: If a file is not what was stored.
        """
        from tqdm import tqdm  # registered models come without it

        for index in tqdm(range(len(self)), "Verifying", unit="capture", disable=None, delay=2.0):
            for column in FILE_COLUMNS:
                self.file(index, column)

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
        picture = images.read_linear(cast("Path", self.file(index, "image")))
        return self._checked(picture, self.row(index), "image")

    def distance_map(self, index: int) -> Tensor:
        """True distances of capture `index`: `[H, W]` float32 metres, 0 unknown.

        Raises:
            CaptureError: If it has no distance.
        """
        row = self.row(index)
        if row["distance_map"] is None and row["distance_m"] is None:
            raise CaptureError(f"capture {row['capture_id']} has no distance")
        path = self.file(index, "distance_map")
        if path is None:
            return torch.full((row["height_px"], row["width_px"]), row["distance_m"])
        return self._checked(read_stored(path), row, "distance map")

    def texture(self, index: int) -> Tensor | None:
        """Gradient energy of the sharp source `[H, W]`; None without such a source."""
        path = self.file(index, "texture_map")
        if path is None:
            return None
        return self._checked(images.read_map(path), self.row(index), "texture map")

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


def _content(path: Path, expected: str) -> bytes:
    """A stored file, refused if its checksum is another."""
    with guarded(CaptureError, f"{path} cannot be read", todo=REPAIR):
        content = path.read_bytes()
    if (found := checksum(content)) != expected:
        raise CaptureError(
            f"{path} is damaged", got=f"checksum {found}", expected=expected, todo=REPAIR
        )
    return content


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
        captures: Evaluated lazily: one at a time is held in memory. A generator is closed, also
            if writing fails, so that processes that work for it end.
        blur: Blur diameter of its lens; None: that of a thin one.

    Raises:
        CaptureError: If there are no captures, two are alike, or splits are not kept apart.
    """
    import pandas as pd

    ending = closing(captures) if isinstance(captures, Generator) else nullcontext()
    with ending, new_folder(folder) as partial:
        for name in ("images", "distance", "texture"):
            (partial / name).mkdir()
        rows = [_write_capture(partial, camera, capture) for capture in captures]
        if not rows:
            raise CaptureError("there are no captures to write", expected="at least one")
        table = validate_manifest(pd.DataFrame(rows), str(folder))
        camera.save(partial / RECORD_FILE)
        if blur is not None:
            blur.save(partial / BLUR_FILE)
        write_manifest(partial, table)
    return CaptureSet(folder, table, camera, blur or ThinBlur(camera))


def write_manifest(folder: Path, table: pd.DataFrame) -> None:
    """Write the manifest of a new set, and seal it with the camera record and blur beside it."""
    table.to_parquet(folder / TABLE_FILE, index=False)
    sealed = (folder / name for name in (TABLE_FILE, RECORD_FILE, BLUR_FILE))
    seal = {path.name: checksum(path.read_bytes()) for path in sealed if path.is_file()}
    (folder / SEAL_FILE).write_text(json.dumps(seal, indent=2) + "\n", encoding="utf-8")


def _sealed(folder: Path) -> dict[str, bytes]:
    """Contents of manifest, camera record and blur, as they were sealed.

    Raises:
        CaptureError: If one is damaged or lost, or an earlier version wrote the set.
    """
    if (folder / TABLE_FILE).is_file() and not (folder / SEAL_FILE).is_file():
        what = f"{folder} holds no checksums: an earlier version wrote it, or {SEAL_FILE} is lost"
        raise CaptureError(what, todo=REPAIR)
    seal = read_json(folder / SEAL_FILE)
    if not isinstance(seal, dict) or not {TABLE_FILE, RECORD_FILE} <= seal.keys():
        raise CaptureError(f"{folder / SEAL_FILE} is damaged", todo=REPAIR)
    ours = seal.keys() | ({BLUR_FILE} if (folder / BLUR_FILE).exists() else set())
    return {name: _content(folder / name, seal.get(name, "none")) for name in sorted(ours)}


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
    for file, sealed in CHECKSUM_COLUMNS.items():
        row[sealed] = checksum((folder / row[file]).read_bytes()) if row[file] else None
    return row


def read_captures(folder: Path) -> CaptureSet:
    """Read a set of captures.

    Raises:
        CaptureError: If the folder is no set of captures, or its manifest or files do not fit.
        CameraMismatchError: If a capture is of another camera than the set's.
    """
    return read_folder(folder, _read_captures)


def _read_captures(folder: Path) -> CaptureSet:
    import pandas as pd

    try:
        with guarded(CaptureError, f"{folder} is no set of captures", todo=REPAIR):
            sealed = _sealed(folder)
            table = pd.read_parquet(BytesIO(sealed[TABLE_FILE]))
            camera = Camera.load(folder / RECORD_FILE)
            traced = BLUR_FILE in sealed
            blur = TracedBlur.load(folder / BLUR_FILE) if traced else ThinBlur(camera)
    except (ConfigError, LensError) as exc:
        raise CaptureError(f"{folder} is no set of captures ({exc})", todo=REPAIR) from exc
    table = validate_manifest(table, str(folder))
    for fingerprint in table["camera"].unique():
        camera.require(fingerprint, f"a capture of {folder}")
    return CaptureSet(folder, table, camera, blur)
