"""Import of captures row by row: read, checked against the camera, assigned to splits."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import cast

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from rangefinder.camera import Camera
from rangefinder.captures.decoding import Decoded, decode
from rangefinder.captures.distance_maps import frame_from_rays, from_rays, read_distances
from rangefinder.captures.exif import lens_difference, turned_by_a_quarter
from rangefinder.captures.manifest import Capture, Role
from rangefinder.captures.map_checks import doubts
from rangefinder.captures.map_formats import read_mask
from rangefinder.captures.remapping import remapped
from rangefinder.captures.sample_bits import SampleBits
from rangefinder.captures.splits import SPLITS, Split, assign_splits, hashed_order
from rangefinder.captures.tables import Problem, Row, Table, inside, read_table, refuse
from rangefinder.config import CaptureParams, Parameters
from rangefinder.coordinates import Placement
from rangefinder.errors import CaptureError
from rangefinder.photo_domain import Storage

Simulate = Callable[[Tensor, Tensor, np.random.Generator], Capture]
SKIP = "`rangefinder check` lists all; captures.skip_bad: true goes on without these rows."
OTHER_SIZE = (
    "For a crop or a binned photo fill origin_x_px, origin_y_px and scale; otherwise set "
    "camera.width_px and height_px."
)
OTHER_STORAGE = "Set camera.encoding to what the camera writes, so that simulated photos are alike."
MEANT = "If the map is right: captures.doubtful_maps: accept."
FAR_OFF = 10.0  # factor beyond the working range from which the unit must be another
SLACK_PX = 1.0  # sensor pixels that rounding in binning may add beyond the sensor's edge
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class SplitPlan:
    """Assignment of scenes to splits."""

    splits: dict[str, Split]  # split of every scene
    withheld: frozenset[str]  # training scenes whose distances are not used


def plan_splits(rows: Sequence[Row], params: CaptureParams) -> SplitPlan:
    """Assign scenes to splits: those with maps and those of charts by share, the rest to train.

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
    shares: dict[Split, float] = {"validation": params.validation_share, "test": params.test_share}
    splits: dict[str, Split] = {row.scene: "train" for row in rows}
    splits |= given
    for kind in (mapped, sheets):
        splits |= assign_splits(kind, shares, given, params.fold)
    training = hashed_order((scene for scene in mapped if splits[scene] == "train"), "withheld")
    withheld = training[: round(params.withheld_share * len(training))]
    return SplitPlan(splits, frozenset(withheld))


@dataclass
class Importer:
    """Reads rows as captures of one camera.

    Attributes:
        simulate: Renders rows of role rgbd; None: nothing is known of the lens.
    """

    camera: Camera  # the camera of all photos
    params: Parameters  # all parameters
    simulate: Simulate | None = None
    problems: list[Problem] = field(default_factory=list)  # found so far
    bits: SampleBits = field(default_factory=SampleBits)  # of the photos read so far
    storages: dict[str, set[Storage]] = field(  # of photos of the camera, and of rgbd frames
        default_factory=lambda: {"own": set(), "rgbd": set()}
    )
    _seen: dict[str, str] = field(default_factory=dict)

    def captures(self, tables: Sequence[Table]) -> Iterator[Capture]:
        """Every capture of some tables; bad rows become problems.

        Raises:
            CaptureError: At the end, if a row is bad and `captures.skip_bad` is false.
        """
        rows = [(table, row) for table in tables for row in table.rows]
        self.problems += [problem for table in tables for problem in table.problems]
        plan = plan_splits([row for _, row in rows], self.params.captures)
        wanted = self.params.captures.import_splits
        rows = [(table, row) for table, row in rows if plan.splits[row.scene] in wanted]
        for table, row in tqdm(rows, desc="importing captures", unit="capture", disable=None):
            try:
                for capture in self._load(table, row, plan):
                    yield _assigned(capture, plan)
            except CaptureError as error:
                self.problems.append(Problem.of(table.path.name, row.number, row.image, error))
        if self.bits.doubt:
            log.warning("%s. %s", self.bits.doubt, self.bits.todo())
        if self.storage_doubt:
            log.warning("%s. %s", self.storage_doubt, OTHER_STORAGE)
        if self.params.captures.skip_bad:
            for problem in self.problems:
                log.warning("%s: %s", "Left out" if problem.is_fatal else "Doubtful", problem)
        else:
            refuse(self.problems, SKIP)

    @property
    def storage_doubt(self) -> str:
        """How simulated photos differ from those of the camera read so far; empty if they do not.

        Only whether photos are compressed counts: a JPEG shows blur in another way.
        """
        encoding = self.params.camera.encoding
        is_simulated = self.params.captures.source == "both" or self.storages["rgbd"]
        own = self.storages["own"]
        compressed = {one for one in own if one.is_lossy}
        if not (is_simulated and own) or bool(compressed) == ("jpeg" in encoding.formats):
            return ""
        example = str(min(compressed or own, key=str))
        simulated = " and ".join(encoding.formats)
        return f"photos are stored as {example}, simulated ones as {simulated}"

    def _load(self, table: Table, row: Row, plan: SplitPlan) -> Iterator[Capture]:
        """The capture of a row, assigned to training; one of role rgbd is rendered.

        Frames of the training split are rendered `captures.remapped_frames` more times, with other
        distances each time.
        """
        capture, _ = self.read(table, row)
        if row.role != "rgbd":
            yield capture
            return
        if self.simulate is None:
            raise CaptureError(
                f"{row.image} is to be simulated, and nothing is known of the lens",
                got="camera.lens.kind none",
                todo="Set camera.lens.kind: thin, or bring only photos of this camera.",
            )
        name = hashlib.sha256(row.image.encode()).digest()
        key, distance_m = int.from_bytes(name[:8]), cast("Tensor", capture.distance_map)
        generator = np.random.default_rng([self.params.seed, key])
        yield replace(self.simulate(capture.image, distance_m, generator), scene=row.scene)
        working_m = self.params.range.working_m
        more = self.params.captures.remapped_frames if plan.splits[row.scene] == "train" else 0
        for number in range(more):
            generator = np.random.default_rng([self.params.seed, key, number])
            moved_m = remapped(distance_m, self.camera, working_m, generator)
            yield replace(self.simulate(capture.image, moved_m, generator), scene=row.scene)

    def read(self, table: Table, row: Row) -> tuple[Capture, Decoded]:
        """Read the files of one row; the capture, assigned to training, and its image file.

        Raises:
            CaptureError: If one of them cannot be used, or is of another camera.
        """
        path = inside(table.folder, row.image)
        options = self.params.captures
        bits = options.sample_bits if row.role != "rgbd" else None  # those are of other cameras
        decoded = decode(path, row.encoding, options.orientation, bits)
        self._require_new(path, row)
        self.storages["rgbd" if row.role == "rgbd" else "own"].add(decoded.storage)
        if row.role != "rgbd":
            self._require_camera(row, decoded)
            self.bits.add(decoded.largest)
        if row.role == "chart":
            self._require_plausible(row)
        placement = Placement((row.origin_x_px, row.origin_y_px), row.scale)
        capture = Capture(
            image=decoded.image,
            role=cast("Role", row.role),
            scene=row.scene,
            split="train",
            distance_m=row.distance_m if row.role == "chart" else None,
            distance_map=self._distances(table, row, decoded.image, placement),
            exposure=row.exposure,
            storage=decoded.storage,
            placement=placement,
        )
        return capture, decoded

    def _distances(
        self, table: Table, row: Row, image: Tensor, placement: Placement
    ) -> Tensor | None:
        """A row's distance map `[H, W]` [m] with its valid mask applied; None if there is none."""
        size = (int(image.shape[1]), int(image.shape[2]))
        valid = _mask(table, row, size)
        if row.distance_map is not None:
            distance_m = self._along_axis(table, row, size, placement)
        elif row.role == "chart" and valid is not None:
            distance_m = torch.full(size, cast("float", row.distance_m))
        else:
            return None
        if valid is not None and not bool((valid & (distance_m > 0)).any()):
            raise CaptureError(f"{row.valid_mask} leaves no pixel of known distance")
        if row.distance_map is not None:
            self._doubt(table, row, distance_m, image, valid)
        return distance_m if valid is None else distance_m * valid

    def _along_axis(
        self, table: Table, row: Row, size: tuple[int, int], placement: Placement
    ) -> Tensor:
        """A row's map `[H, W]` [m] along the optical axis, whatever its kind."""
        name = cast("str", row.distance_map)
        distance_m = read_distances(inside(table.folder, name), size, row.map_meaning)
        if row.distance_kind != "radial":
            return distance_m
        if row.role == "rgbd":
            return frame_from_rays(distance_m, cast("float", row.focal_length_px))
        return from_rays(distance_m, self.camera, placement, row.focal_length_px)

    def _doubt(
        self, table: Table, row: Row, distance_m: Tensor, image: Tensor, valid: Tensor | None
    ) -> None:
        """Refuse or note what is doubtful about a row's map."""
        path, working_m = Path(cast("str", row.distance_map)), self.params.range.working_m
        flat, meaning = row.role == "chart", row.map_meaning
        found = list(doubts(path, distance_m, image, meaning, working_m, valid, may_be_flat=flat))
        if not found:
            return
        what = f"{path.name} is doubtful: " + "; ".join(doubt.found for doubt in found)
        todo = " ".join([*(doubt.todo for doubt in found), MEANT])
        if self.params.captures.doubtful_maps == "refuse":
            raise CaptureError(what, todo=todo)
        noted = Problem(table.path.name, row.number, row.image, what, todo, is_fatal=False)
        self.problems.append(noted)

    def _require_new(self, path: Path, row: Row) -> None:
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        first = self._seen.setdefault(digest, row.image)
        if first != row.image:
            raise CaptureError(
                f"{row.image} has the same content as {first}", todo="Take one of them out."
            )

    def _require_plausible(self, row: Row) -> None:
        """Refuse a chart so far from the working range that its unit must be another."""
        near_m, far_m = self.params.range.working_m
        distance_m = cast("float", row.distance_m)
        if not near_m / FAR_OFF < distance_m < far_m * FAR_OFF:
            raise CaptureError(
                f"{row.image} has an implausible distance_m",
                got=f"{distance_m:g} m",
                expected=f"range.working_m, {near_m:g} to {far_m:g} m, or close to it",
                todo="Were these millimetres or centimetres? Else widen range.working_m.",
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
                todo=turned_by_a_quarter(width, height, camera).capitalize() or OTHER_SIZE,
            )
        difference = lens_difference(decoded.exif, camera)
        if difference:
            raise CaptureError(
                f"{row.image} was taken with another setting: {difference}",
                todo="Take it out, or mend the camera record: one model belongs to one setting.",
            )


def _assigned(capture: Capture, plan: SplitPlan) -> Capture:
    """A capture in its scene's split; a withheld one becomes unlabelled."""
    split = plan.splits[capture.scene]
    withheld = split == "train" and capture.scene in plan.withheld
    return replace(capture, split=split, role="unlabelled" if withheld else capture.role)


def _mask(table: Table, row: Row, size: tuple[int, int]) -> Tensor | None:
    """A row's valid mask `[H, W]`; None if there is none."""
    if row.valid_mask is None:
        return None
    valid = torch.from_numpy(read_mask(inside(table.folder, row.valid_mask)))
    if tuple(valid.shape) != size:
        raise CaptureError(
            f"{row.valid_mask} has another size than its image",
            got=f"{valid.shape[1]}x{valid.shape[0]} px",
            expected=f"{size[1]}x{size[0]} px",
        )
    return valid


def read_tables(params: CaptureParams, home: Path) -> list[Table]:
    """The tables named in `params.tables`, relative to the project's folder `home`.

    Raises:
        CaptureError: If one of them cannot be read.
    """
    if params.source == "builtin":
        return []
    return [read_table(home / name) for name in params.tables]


def import_captures(
    params: Parameters, camera: Camera, simulate: Simulate | None, tables: Sequence[Table]
) -> Iterator[Capture]:
    """Captures of tables, one at a time; `simulate` renders rows of role rgbd.

    Raises:
        CaptureError: Listing every bad row, after the last one.
    """
    for table in tables:
        if table.ignored:
            log.info("%s: columns not used here: %s", table.path, ", ".join(table.ignored))
    counts = dict.fromkeys(SPLITS, 0)
    for capture in Importer(camera, params, simulate).captures(tables):
        counts[capture.split] += 1
        yield capture
    log.info("Imported %s", ", ".join(f"{n} for {split}" for split, n in counts.items()))
