"""Checks of captures before training: files, exposure, splits, sharpness against distance."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from torch import Tensor
from torch.nn.functional import adaptive_avg_pool2d
from tqdm import tqdm

from rangefinder.camera import Camera
from rangefinder.captures.decoding import decode
from rangefinder.captures.distance_maps import near_edges
from rangefinder.captures.exif import camera_name, focus_difference
from rangefinder.captures.importer import OTHER_STORAGE, Importer, SplitPlan, plan_splits
from rangefinder.captures.manifest import Capture
from rangefinder.captures.tables import Problem, Row, Table, inside
from rangefinder.common.lengths import length_unit
from rangefinder.config import Parameters
from rangefinder.errors import CaptureError

Float = NDArray[np.float32]
Double = NDArray[np.float64]

FINE_PX, COARSE_PX = 0.7, 2.5  # scales whose gradients are compared
CONTRAST_FLOOR = 0.02  # light added before the logarithm, so that noise in black does not count
WINDOW_PX = 32  # side of the windows that sharpness is averaged over
EDGE_STEP, EDGE_BAND_PX = 0.05, 12  # windows near depth discontinuities are left out
MIN_CONTRAST = 0.02  # mean gradient of log light per px, at the coarse scale
MIN_KNOWN_SHARE = 0.9  # of a window's pixels
SHARPNESS_BINS = 16
MIN_WINDOWS = 8  # in a bin of distances
MIN_FALL = 0.1  # relative fall of sharpness from its maximum that shows blur
SATURATED = 0.99  # linear light
MAX_SATURATED_SHARE = 0.05  # of the pixels
MIN_BRIGHTEST = 0.05  # linear light that a photo's brightest pixels should reach
SAME_VIEW_CORRELATION = 0.995  # of thumbnails
THUMBNAIL_PX = 16  # side
EXPOSE_ANEW = "Take it again with another exposure; lock the exposure of all photos."


def sharpness_map(image: Tensor) -> tuple[Float, Float]:
    """Fine against coarse gradients, averaged over windows.

    Args:
        image: `[3, H, W]` linear light.

    Returns:
        Ratio of squared gradients at a fine and a coarse scale, `[H // 32, W // 32]`: high where
        the picture is sharp, whatever its contrast; and the coarse contrast.
    """
    light = np.log(image.mean(dim=0).numpy() + CONTRAST_FLOOR)
    fine, coarse = (
        _window_means(ndimage.gaussian_gradient_magnitude(light, scale) ** 2)
        for scale in (FINE_PX, COARSE_PX)
    )
    ratio: Float = (fine / np.maximum(coarse, 1e-12)).astype(np.float32)
    return ratio, np.sqrt(coarse)


def _window_means(values: Float) -> Float:
    rows, cols = (size // WINDOW_PX for size in values.shape)
    whole = values[: rows * WINDOW_PX, : cols * WINDOW_PX]
    return np.asarray(whole.reshape(rows, WINDOW_PX, cols, WINDOW_PX).mean(axis=(1, 3)))


def sharpness_samples(image: Tensor, distance_m: float | Tensor) -> Iterator[tuple[float, float]]:
    """(distance [m], sharpness) of every textured window of known, continuous distance."""
    ratio, contrast = sharpness_map(image)
    if isinstance(distance_m, Tensor):
        known = distance_m.numpy()
        usable = (known > 0) & ~near_edges(known, EDGE_STEP, EDGE_BAND_PX)
        share = _window_means(usable.astype(np.float32))
        total = _window_means(np.where(usable, known, 0).astype(np.float32))
        mean_m = total / np.maximum(share, 1e-6)
    else:
        share, mean_m = np.ones_like(ratio), np.full_like(ratio, distance_m)
    good = (share > MIN_KNOWN_SHARE) & (contrast > MIN_CONTRAST)
    yield from zip(mean_m[good].tolist(), ratio[good].tolist(), strict=True)


@dataclass(frozen=True)
class SharpnessCurve:
    """Sharpness against distance."""

    distance_m: Double  # `[B]` middle of each bin with enough windows, near to far
    sharpness: Double  # `[B]` median there
    low: Double  # `[B]` lower quartile
    high: Double  # `[B]` upper quartile

    @classmethod
    def of(cls, places: Double) -> SharpnessCurve:
        """Bin windows `[N, 2]` (distance [m], sharpness), equally wide in dioptres."""
        inverse = 1 / places[:, 0] if len(places) else np.empty(0)
        low, high = (float(inverse.min()), float(inverse.max())) if inverse.size else (0.0, 1.0)
        edges = np.linspace(low, high + 1e-9, SHARPNESS_BINS + 1)
        index = np.searchsorted(edges, inverse, side="right") - 1
        found = []
        for bin_ in range(SHARPNESS_BINS - 1, -1, -1):
            members = places[index == bin_] if len(places) else places
            if len(members) >= MIN_WINDOWS:
                quartiles = np.quantile(members[:, 1], (0.5, 0.25, 0.75))
                found.append((1 / np.mean(1 / members[:, 0]), *quartiles))
        return cls(*np.array(found).reshape(-1, 4).T)

    @property
    def focus_m(self) -> float | None:
        """Sharpest distance, to half a bin; None with too few bins."""
        if self.distance_m.size < 3:
            return None
        return float(self.distance_m[np.argmax(self.sharpness)])

    @property
    def fall(self) -> tuple[float, float]:
        """Relative fall of sharpness from the focus to the near and to the far end."""
        if self.distance_m.size < 3:
            return 0.0, 0.0
        peak = self.sharpness.max()
        return float(1 - self.sharpness[0] / peak), float(1 - self.sharpness[-1] / peak)

    def verdict(self, camera: Camera) -> str:
        """Where the captures are sharpest and how far sharpness falls, as a sentence."""
        if self.focus_m is None:
            return "Too few textured places of known distance to see blur against distance."
        near, far = self.fall
        unit = length_unit((self.distance_m[0], self.distance_m[-1]))
        focus, first, last = (
            f"{unit.fixed(distance, 2)} {unit.name}"
            for distance in (self.focus_m, self.distance_m[0], self.distance_m[-1])
        )
        message = (
            f"Sharpest at {focus} (camera record: {camera.focus_distance_m:g} m); sharpness falls "
            f"by {near:.0%} to {first} and by {far:.0%} to {last}."
        )
        if max(near, far) < MIN_FALL:
            return f"{message} Blur hardly carries distance here: open the aperture."
        return message


@dataclass
class Findings:
    """Result of the checks.

    Attributes:
        table: The table.
        problems: All problems, also those of the table.
        good: Rows that can be used.
        plan: Assignment of scenes to splits.
        counts: Captures per role and split.
        chart_distances_m: Distances of the good charts.
        places: `[N, 2]` distance [m] and sharpness of textured windows.
        brightest: Brightest light of each good photo, by image.
    """

    table: Table
    problems: list[Problem] = field(default_factory=list)
    good: list[Row] = field(default_factory=list)
    plan: SplitPlan = field(default_factory=lambda: SplitPlan({}, frozenset()))
    counts: Counter[tuple[str, str]] = field(default_factory=Counter)
    chart_distances_m: list[float] = field(default_factory=list)
    places: Double = field(default_factory=lambda: np.empty((0, 2)))
    brightest: dict[str, float] = field(default_factory=dict)

    @property
    def fatal(self) -> list[Problem]:
        """Problems that keep a row from being used."""
        return [problem for problem in self.problems if problem.is_fatal]


def check_table(table: Table, camera: Camera, params: Parameters) -> Findings:
    """Check every row of a table of one camera and its files, then rows against each other."""
    checker = _Checker(table, Importer(camera, params))
    for row in tqdm(table.rows, desc="checking captures", unit="capture", disable=None):
        checker.check(row)
    return checker.finish()


class _Checker:
    """Collects findings row by row."""

    def __init__(self, table: Table, importer: Importer) -> None:
        self.table, self.importer = table, importer
        self.findings = Findings(table, list(table.problems))
        self.names: dict[Row, str] = {}
        self.thumbnails: dict[Row, Float] = {}
        self.places: list[tuple[float, float]] = []

    def check(self, row: Row) -> None:
        """Read and check the files of one row."""
        try:
            capture, decoded = self.importer.read(self.table, row)
        except CaptureError as error:
            problem = Problem.of(self.table.path.name, row.number, row.image, error)
            self.findings.problems.append(problem)
            return
        self.findings.good.append(row)
        self._reference(row, capture.image)
        if row.role != "rgbd":
            self.names[row] = camera_name(decoded.exif)
            difference = focus_difference(decoded.exif, self.importer.camera)
            if difference:
                self._note(row, difference, "Lock the focus at that of the camera record.")
            self._exposure(row, capture.image)
            self._sharpness(capture)
        if row.role != "chart":
            self.thumbnails[row] = _thumbnail(capture.image)

    def _reference(self, row: Row, image: Tensor) -> None:
        """Note a sharp photo, or the drawing of a sheet, that calibration could not use."""
        options = self.importer.params.captures
        try:
            if row.sheet is not None:
                inside(self.table.folder, row.sheet)
            if row.sharp_image is None:
                return
            path = inside(self.table.folder, row.sharp_image)
            sharp = decode(path, row.encoding, options.orientation, options.sample_bits).image
        except CaptureError as error:
            self._note(row, error.finding, error.todo)
            return
        if sharp.shape != image.shape:
            found = f"{row.sharp_image} has another size than {row.image}"
            self._note(row, found, "Take both photos of a pair alike.")

    def _note(self, row: Row, found: str, todo: str, is_fatal: bool = False) -> None:
        name = self.table.path.name
        self.findings.problems.append(Problem(name, row.number, row.image, found, todo, is_fatal))

    def _exposure(self, row: Row, image: Tensor) -> None:
        saturated = float((image.amax(dim=0) >= SATURATED).float().mean())
        brightest = float(np.quantile(image.numpy(), 0.999))
        self.findings.brightest[row.image] = brightest
        if saturated > MAX_SATURATED_SHARE:
            self._note(row, f"{saturated:.0%} of the pixels are burnt out", EXPOSE_ANEW)
        if brightest < MIN_BRIGHTEST:
            self._note(row, f"brightest light is {brightest:.1%} of full scale", EXPOSE_ANEW)

    def _sharpness(self, capture: Capture) -> None:
        known = capture.distance_map if capture.distance_map is not None else capture.distance_m
        if known is not None:
            self.places += sharpness_samples(capture.image, known)
        if capture.distance_m is not None:
            self.findings.chart_distances_m.append(capture.distance_m)

    def finish(self) -> Findings:
        """Compare rows with each other."""
        findings, bits = self.findings, self.importer.bits
        if bits.doubt:
            name = self.table.path.name
            findings.problems.append(Problem(name, 0, "", bits.doubt, bits.todo(), is_fatal=False))
        if doubt := self.importer.storage_doubt:
            name = self.table.path.name
            findings.problems.append(Problem(name, 0, "", doubt, OTHER_STORAGE, is_fatal=False))
        findings.problems += self.importer.problems  # maps that are doubtful, and accepted
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
        """Refuse photos of another camera than most."""
        names = Counter(filter(None, self.names.values()))
        if len(names) < 2:
            return
        usual = names.most_common(1)[0][0]
        for row, name in self.names.items():
            if name and name != usual:
                found = f"was taken by {name}, most others by {usual}"
                self._note(row, found, "Take it out: one model belongs to one camera.", True)
                self.findings.good.remove(row)

    def _leaks(self) -> None:
        """Note photos that look like one of another split: one scene under two names."""
        good = set(self.findings.good)
        rows = [row for row in self.thumbnails if row in good]
        if not rows:
            return
        splits = np.array([self.findings.plan.splits[row.scene] for row in rows])
        stacked = np.stack([self.thumbnails[row] for row in rows])
        same_view = stacked @ stacked.T > SAME_VIEW_CORRELATION
        leaks = np.triu(same_view & (splits[:, None] != splits[None]))
        for first, second in zip(*np.nonzero(leaks), strict=True):
            one, other = rows[int(first)], rows[int(second)]
            found = f"looks like {one.image} (scene {one.scene}), which is in another split"
            self._note(other, found, "Give both the same scene.")


def _thumbnail(image: Tensor) -> Float:
    """A tiny picture of mean 0 and norm 1, `[256]`."""
    pooled = adaptive_avg_pool2d(image.mean(dim=0, keepdim=True)[None], THUMBNAIL_PX)
    small = pooled.numpy().ravel()
    small = small - small.mean()
    return np.asarray(small / max(float(np.linalg.norm(small)), 1e-9), dtype=np.float32)
