"""Captures that somebody brought, row by row: read, checked against the camera, put into splits."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, cast

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from rangefinder.camera import Camera
from rangefinder.captures.decode import Decoded, decode
from rangefinder.captures.exif import other_lens
from rangefinder.captures.images import read_mask
from rangefinder.captures.manifest import Capture
from rangefinder.captures.maps import read_distances
from rangefinder.captures.problems import Problem, refuse
from rangefinder.captures.safe_paths import inside
from rangefinder.captures.schema import Role
from rangefinder.captures.splits import SPLITS, Split, hashed_order, share_out
from rangefinder.captures.tables import Row, Table, read_table
from rangefinder.config import CaptureParams, Parameters
from rangefinder.errors import CaptureError
from rangefinder.location import Placement

if TYPE_CHECKING:
    from rangefinder.optics.lens import PsfBank

SKIP = "`rangefinder check` lists all; captures.skip_bad: true goes on without these rows."
SLACK_PX = 1.0  # sensor pixels by which binning may round a photo beyond the sensor's edge
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Plan:
    """Which scene goes where.

    Attributes:
        splits: Split of every scene.
        withheld: Training scenes whose distances the student never sees.
    """

    splits: dict[str, Split]
    withheld: frozenset[str]


def plan_splits(rows: Sequence[Row], params: CaptureParams) -> Plan:
    """Put scenes into splits: those with distance maps, those of charts, and the rest to train.

    Args:
        rows: All rows of all tables.
        params: Shares of validation, test and withheld scenes.

    Raises:
        CaptureError: If a scene's rows name two splits.
    """
    given: dict[str, Split] = {}
    for row in rows:
        split = cast("Split | None", row.split)
        if split and given.setdefault(row.scene, split) != split:
            raise CaptureError(
                f"scene {row.scene!r} stands in two splits",
                got=f"{given[row.scene]} and {split} (row {row.number})",
                todo="Give all rows of a scene the same split, or leave the column empty.",
            )
    mapped = {row.scene for row in rows if row.role in ("labelled", "rgbd")}
    sheets = {row.scene for row in rows if row.role == "chart"} - mapped
    shares: dict[Split, float] = {
        "validation": params.validation_share,
        "test": params.test_share,
    }
    splits: dict[str, Split] = {row.scene: "train" for row in rows}
    splits |= given
    for kind in (mapped, sheets):
        splits |= share_out(kind, shares, given, params.fold)
    learned = hashed_order((scene for scene in mapped if splits[scene] == "train"), "withheld")
    withheld = learned[: round(params.withheld_share * len(learned))]
    return Plan(splits, frozenset(withheld))


@dataclass
class Importer:
    """Turns rows into captures of one camera.

    Attributes:
        camera: The camera of all photos.
        params: All parameters.
        bank: Its point spread functions, which rows of role rgbd need.
        problems: What was found wrong so far.
    """

    camera: Camera
    params: Parameters
    bank: PsfBank | None = None
    problems: list[Problem] = field(default_factory=list)
    _seen: dict[str, str] = field(default_factory=dict)

    def captures(self, tables: Sequence[Table]) -> Iterator[Capture]:
        """Every capture of some tables; bad rows become problems.

        Raises:
            CaptureError: At the end, if a row is bad and `captures.skip_bad` does not say to go on.
        """
        rows = [(table, row) for table in tables for row in table.rows]
        self.problems += [problem for table in tables for problem in table.problems]
        plan = plan_splits([row for _, row in rows], self.params.captures)
        for table, row in tqdm(rows, desc="importing captures", unit="capture", disable=None):
            try:
                yield self.place(self.load(table, row), plan)
            except CaptureError as error:
                self.problems.append(Problem.of(table.path.name, row.number, row.image, error))
        if self.params.captures.skip_bad:
            for problem in self.problems:
                log.warning("Left out: %s", problem)
        else:
            refuse(self.problems, SKIP)

    @staticmethod
    def place(capture: Capture, plan: Plan) -> Capture:
        """Put a capture into its scene's split; a withheld one is unlabelled from here on."""
        split = plan.splits[capture.scene]
        role = "unlabelled" if capture.scene in plan.withheld else capture.role
        return replace(capture, split=split, role=role if split == "train" else capture.role)

    def load(self, table: Table, row: Row) -> Capture:
        """Read the files of one row, as training split; a row of role rgbd is photographed.

        Raises:
            CaptureError: If one of them cannot be used, or is of another camera.
        """
        capture, _ = self.read(table, row)
        return self._simulated(row, capture) if row.role == "rgbd" else capture

    def read(self, table: Table, row: Row) -> tuple[Capture, Decoded]:
        """Read the files of one row as they are; the capture and what its image file says.

        Raises:
            CaptureError: If one of them cannot be used, or is of another camera.
        """
        path = inside(table.folder, row.image)
        decoded = decode(path, row.encoding, self.params.captures.orientation)
        self._require_new(path, row)
        if row.role != "rgbd":
            self._require_camera(row, decoded)
        size = (int(decoded.image.shape[1]), int(decoded.image.shape[2]))
        capture = Capture(
            image=decoded.image,
            role=cast("Role", row.role),
            scene=row.scene,
            split="train",
            distance_m=row.distance_m if row.role == "chart" else None,
            distance_map=_distances(table, row, size),
            exposure=row.exposure,
            placement=Placement((row.origin_x_px, row.origin_y_px), row.scale),
        )
        return capture, decoded

    def _require_new(self, path: Path, row: Row) -> None:
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        first = self._seen.setdefault(digest, row.image)
        if first != row.image:
            raise CaptureError(
                f"{row.image} has the same content as {first}", todo="Take one of them out."
            )

    def _require_camera(self, row: Row, decoded: Decoded) -> None:
        camera, (height, width) = self.camera, decoded.image.shape[1:]
        right = row.origin_x_px + width * row.scale
        bottom = row.origin_y_px + height * row.scale
        is_whole = (row.origin_x_px, row.origin_y_px, row.scale) == (0.0, 0.0, 1.0)
        fits = right <= camera.width_px + SLACK_PX and bottom <= camera.height_px + SLACK_PX
        if is_whole and (width, height) != (camera.width_px, camera.height_px):
            fits = False
        if not fits:
            raise CaptureError(
                f"{row.image} does not fit the camera",
                got=f"{width}x{height} px from ({row.origin_x_px:g}, {row.origin_y_px:g}), "
                f"{row.scale:g} sensor px each",
                expected=f"{camera.width_px}x{camera.height_px} px",
                todo="For a crop or a binned photo fill origin_x_px, origin_y_px and scale; "
                "otherwise set camera.width_px and height_px.",
            )
        told = other_lens(decoded.exif, camera)
        if told:
            raise CaptureError(
                f"{row.image} was taken with another setting: {told}",
                todo="Take it out, or mend the camera record: one model belongs to one setting.",
            )

    def _simulated(self, row: Row, frame: Capture) -> Capture:
        from rangefinder.captures.simulate import simulate_rgbd

        if self.bank is None:
            raise CaptureError(
                f"{row.image} is to be simulated, and nothing is known of the lens",
                got="camera.lens.kind none",
                todo="Set camera.lens.kind: thin, or bring only photos of this camera.",
            )
        name = hashlib.sha256(row.image.encode()).digest()
        generator = np.random.default_rng([self.params.seed, int.from_bytes(name[:8])])
        distance_m = cast("Tensor", frame.distance_map)
        capture = simulate_rgbd(self.bank, frame.image, distance_m, self.params, generator)
        return replace(capture, scene=row.scene)


def _distances(table: Table, row: Row, size: tuple[int, int]) -> Tensor | None:
    """What a row knows of every pixel's distance `[H, W]`, its valid mask applied."""
    if row.distance_map is not None:
        distance_m = read_distances(inside(table.folder, row.distance_map), size)
    elif row.role == "chart" and row.valid_mask is not None:
        distance_m = torch.full(size, cast("float", row.distance_m))
    else:
        return None
    if row.valid_mask is None:
        return distance_m
    valid = read_mask(inside(table.folder, row.valid_mask))
    if tuple(valid.shape) != size:
        raise CaptureError(
            f"{row.valid_mask} has another size than its image",
            got=f"{valid.shape[1]}x{valid.shape[0]} px",
            expected=f"{size[1]}x{size[0]} px",
        )
    if not bool((valid & (distance_m > 0)).any()):
        raise CaptureError(f"{row.valid_mask} leaves no pixel of known distance")
    return distance_m * valid


def read_tables(params: CaptureParams, home: Path) -> list[Table]:
    """The tables that the parameters name.

    Args:
        params: `tables` are paths from `home`.
        home: The project's folder.

    Raises:
        CaptureError: If one of them cannot be read.
    """
    if params.source == "builtin":
        return []
    return [read_table(home / name) for name in params.tables]


def import_captures(
    params: Parameters, camera: Camera, bank: PsfBank | None, tables: Sequence[Table]
) -> Iterator[Capture]:
    """Captures of some tables, one at a time.

    Args:
        params: All parameters.
        camera: The camera that took them.
        bank: Its point spread functions; None where nothing is simulated.
        tables: What `read_tables` gave.

    Raises:
        CaptureError: Listing every bad row, after the last one.
    """
    for table in tables:
        if table.ignored:
            log.info("%s: columns not used here: %s", table.path, ", ".join(table.ignored))
    counts = dict.fromkeys(SPLITS, 0)
    for capture in Importer(camera, params, bank).captures(tables):
        counts[capture.split] += 1
        yield capture
    log.info("Imported %s", ", ".join(f"{n} for {split}" for split, n in counts.items()))
