"""Everything that can be said of captures before anybody trains on them."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import adaptive_avg_pool2d
from tqdm import tqdm

from rangefinder.camera import Camera
from rangefinder.captures.exif import camera_name, other_focus
from rangefinder.captures.importer import Importer, Plan, plan_splits
from rangefinder.captures.manifest import Capture
from rangefinder.captures.problems import Problem
from rangefinder.captures.sharpness import sharp_places
from rangefinder.captures.tables import Row, Table
from rangefinder.config import Parameters
from rangefinder.errors import CaptureError

FULL = 0.99  # linear light that counts as burnt out
BURNT_SHARE = 0.05  # of the pixels
DARK = 0.05  # linear light that a photo's brightest pixels should reach
ALIKE = 0.995  # correlation of thumbnails of one and the same view
THUMBNAIL = 16  # side
EXPOSE_ANEW = "Take it again with another exposure; lock the exposure of all photos."


@dataclass
class Findings:
    """What was found.

    Attributes:
        table: The table.
        problems: All problems, also those of the table.
        good: Rows that can be used.
        plan: Which scene goes into which split.
        counts: Captures per role and split.
        chart_distances_m: Distances of the good charts.
        places: `[N, 2]` distance [m] and sharpness of textured places.
        brightest: Brightest light of each good photo, by image.
    """

    table: Table
    problems: list[Problem] = field(default_factory=list)
    good: list[Row] = field(default_factory=list)
    plan: Plan = field(default_factory=lambda: Plan({}, frozenset()))
    counts: Counter[tuple[str, str]] = field(default_factory=Counter)
    chart_distances_m: list[float] = field(default_factory=list)
    places: NDArray[np.float64] = field(default_factory=lambda: np.empty((0, 2)))
    brightest: dict[str, float] = field(default_factory=dict)

    @property
    def fatal(self) -> list[Problem]:
        """Problems that keep a row from being used."""
        return [problem for problem in self.problems if problem.is_fatal]


def check_table(table: Table, camera: Camera, params: Parameters) -> Findings:
    """Look at every row and its files.

    Args:
        table: The table.
        camera: The camera of its photos.
        params: Working range and shares of splits.
    """
    inspector = _Inspector(table, Importer(camera, params), Findings(table))
    for row in tqdm(table.rows, desc="checking captures", unit="capture", disable=None):
        inspector.look(row)
    return inspector.finish()


class _Inspector:
    """Collects findings row by row."""

    def __init__(self, table: Table, importer: Importer, findings: Findings) -> None:
        self.table, self.importer, self.findings = table, importer, findings
        self.findings.problems += table.problems
        self.names: dict[Row, str] = {}
        self.thumbnails: dict[Row, NDArray[np.float32]] = {}
        self.places: list[tuple[float, float]] = []

    def look(self, row: Row) -> None:
        """Read one row's files and keep what they say."""
        try:
            capture, decoded = self.importer.read(self.table, row)
        except CaptureError as error:
            self.findings.problems.append(
                Problem.of(self.table.path.name, row.number, row.image, error)
            )
            return
        self.findings.good.append(row)
        if row.role != "rgbd":
            self.names[row] = camera_name(decoded.exif)
            told = other_focus(decoded.exif, self.importer.camera)
            if told:
                self._note(row, told, "Lock the focus where the camera record says.")
            self._exposure(row, capture.image)
            self._sharpness(capture)
        if row.role != "chart":
            self.thumbnails[row] = _thumbnail(capture.image)

    def _note(self, row: Row, found: str, todo: str, is_fatal: bool = False) -> None:
        name = self.table.path.name
        self.findings.problems.append(Problem(name, row.number, row.image, found, todo, is_fatal))

    def _exposure(self, row: Row, image: Tensor) -> None:
        burnt = float((image.amax(dim=0) >= FULL).float().mean())
        brightest = float(np.quantile(image.numpy(), 0.999))
        self.findings.brightest[row.image] = brightest
        if burnt > BURNT_SHARE:
            self._note(row, f"{burnt:.0%} of the pixels are burnt out", EXPOSE_ANEW)
        if brightest < DARK:
            self._note(row, f"brightest light is {brightest:.1%} of full scale", EXPOSE_ANEW)

    def _sharpness(self, capture: Capture) -> None:
        known = capture.distance_map if capture.distance_map is not None else capture.distance_m
        if known is not None:
            self.places += sharp_places(capture.image, known)
        if capture.distance_m is not None:
            self.findings.chart_distances_m.append(capture.distance_m)

    def finish(self) -> Findings:
        """Compare rows with each other."""
        findings = self.findings
        self._mixed_cameras()
        findings.places = np.array(self.places, dtype=np.float64).reshape(-1, 2)
        try:
            findings.plan = plan_splits(findings.good, self.importer.params.captures)
        except CaptureError as error:
            findings.problems.append(Problem.of(self.table.path.name, 0, "", error))
            return findings
        splits = findings.plan.splits
        findings.counts = Counter((row.role, splits[row.scene]) for row in findings.good)
        self._leaks()
        return findings

    def _mixed_cameras(self) -> None:
        names = Counter(name for name in self.names.values() if name)
        if len(names) < 2:
            return
        usual = names.most_common(1)[0][0]
        for row, name in self.names.items():
            if name and name != usual:
                told = f"was taken by {name}, most others by {usual}"
                self._note(row, told, "Take it out: one model belongs to one camera.", True)
                self.findings.good.remove(row)

    def _leaks(self) -> None:
        """Tell of photos that look like one of another split: one scene under two names."""
        rows = [row for row in self.thumbnails if row in set(self.findings.good)]
        splits = np.array([self.findings.plan.splits[row.scene] for row in rows])
        if not rows:
            return
        stacked = np.stack([self.thumbnails[row] for row in rows])
        alike = np.triu((stacked @ stacked.T > ALIKE) & (splits[:, None] != splits[None]))
        for first, second in zip(*np.nonzero(alike), strict=True):
            one, other = rows[int(first)], rows[int(second)]
            told = f"looks like {one.image} (scene {one.scene}), which is in another split"
            self._note(other, told, "Give both the same scene.")


def _thumbnail(image: Tensor) -> NDArray[np.float32]:
    """A tiny picture of mean 0 and length 1, `[256]`."""
    small = adaptive_avg_pool2d(image.mean(dim=0, keepdim=True)[None], THUMBNAIL).numpy().ravel()
    small = small - small.mean()
    return np.asarray(small / max(float(np.linalg.norm(small)), 1e-9), dtype=np.float32)
