"""The default captures: charts and scenes simulated through the camera's PSF bank."""

from __future__ import annotations

import tempfile
from collections.abc import Generator, Iterator
from contextlib import closing
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file, save_file
from torch import Tensor
from tqdm import tqdm

from rangefinder.camera import Camera
from rangefinder.captures.canvases import Recipe, make_canvas, recipes
from rangefinder.captures.manifest import Capture
from rangefinder.captures.motorcycle import motorcycle
from rangefinder.captures.photograph import photograph
from rangefinder.captures.scenes import (
    CHART_PIECES,
    Composition,
    Frame,
    compose_chart,
    compose_scene,
)
from rangefinder.captures.schema import Role
from rangefinder.captures.splits import Split
from rangefinder.captures.textures import Painter, texture_energy
from rangefinder.config import Parameters
from rangefinder.optics.lens import PsfBank
from rangefinder.optics.render import render, render_rgbd
from rangefinder.workers import one_thread, ordered_map, worker_pool

LARGEST_CANVAS_PX = 1024
WHITE_BALANCE_SD = 0.05  # relative, of red and of blue against green
BANK_FILE = "bank.safetensors"
SURFACES_PER_BACKGROUND = 3
_STRATA = 2**31  # key of a group's distances: no capture has that number


@dataclass(frozen=True)
class Job:
    """One capture to make; `key` and the run's seed settle everything random about it."""

    role: Role
    split: Split
    scene: str
    key: tuple[int, int]
    distance_m: float | None = None


def plan(params: Parameters) -> list[Job]:
    """Every capture of a run, in the order of the manifest."""
    counts = params.captures
    jobs = _chart_jobs("train", counts.train_charts, params, 0)
    jobs += _chart_jobs("validation", counts.validation_charts, params, 1)
    scenes: tuple[tuple[Role, Split, int], ...] = (
        ("unlabelled", "train", counts.unlabelled),
        ("labelled", "validation", counts.validation),
        ("labelled", "test", counts.test),
    )
    for group, (role, split, count) in enumerate(scenes, start=2):
        jobs += [Job(role, split, f"{role}-{split}-{i:05d}", (group, i)) for i in range(count)]
    for index, scene in enumerate(counts.real_scenes):
        jobs.append(Job("labelled", "test", scene, (9, index)))
    return jobs


def _chart_jobs(split: Split, count: int, params: Parameters, group: int) -> list[Job]:
    """Charts at distances uniform in dioptres, one in each of `count` equal parts."""
    generator = _generator(params.seed, (group, _STRATA))
    near_dpt, far_dpt = 1 / params.range.working_m[0], 1 / params.range.working_m[1]
    share = (generator.permutation(count) + generator.random(count)) / count
    distance_m = 1 / (far_dpt + share * (near_dpt - far_dpt))
    return [
        Job("chart", split, f"chart-{split}-{i:05d}", (group, i), float(distance))
        for i, distance in enumerate(distance_m)
    ]


def _generator(seed: int, key: tuple[int, int]) -> np.random.Generator:
    return np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(1, *key)))


@dataclass(frozen=True)
class Shot:
    """A capture's arrays on their way between processes; see `Capture` for their meaning."""

    image: NDArray[np.float32]
    exposure: float
    distance_m: NDArray[np.float32] | None
    texture: NDArray[np.float32] | None
    sources: tuple[str, ...]


class Studio:
    """Makes captures, one job at a time.

    Args:
        params: The run's parameters.
        bank: PSF bank of its camera.
        canvases: Every canvas with the recipe it was made by.
    """

    def __init__(
        self, params: Parameters, bank: PsfBank, canvases: list[tuple[Recipe, Tensor]]
    ) -> None:
        self._params = params
        self._bank = bank
        camera = params.camera
        self._frame = Frame(camera.height_px, camera.width_px, bank.radius_px)
        by_split: dict[Split, list[tuple[str, Tensor]]] = {}
        for recipe, canvas in canvases:
            by_split.setdefault(recipe.split, []).append((recipe.source, canvas))
        self._painters = {
            split: Painter(owned, params.captures) for split, owned in by_split.items()
        }

    def compose(self, job: Job, generator: np.random.Generator) -> Composition:
        """What stands in front of the lens for a chart or a simulated scene."""
        painter = self._painters[job.split]
        if job.distance_m is not None:
            return compose_chart(self._frame, painter, job.distance_m, generator)
        params = self._params
        working_m = params.range.working_m
        return compose_scene(self._frame, painter, working_m, params.captures, generator)

    def shoot(self, job: Job) -> Shot:
        """Compose, blur and expose one capture."""
        with one_thread():
            generator = _generator(self._params.seed, job.key)
            if job.scene in self._params.captures.real_scenes:
                blurred, scene = self._real(job)
            else:
                scene = self.compose(job, generator)
                blurred = render(self._bank, scene.layers)
            return self._expose(job, blurred, scene, generator)

    def _real(self, job: Job) -> tuple[Tensor, Composition]:
        """A real scene through this lens: the blurred picture, and what was in front of it."""
        frame, working_m = self._frame, self._params.range.working_m
        sharp, distance_m, shown_m = motorcycle(frame.height_px, frame.width_px, working_m)
        blurred = render_rgbd(self._bank, sharp, shown_m)
        return blurred, Composition((), sharp, distance_m, (f"scene:{job.scene}",))

    def _expose(
        self,
        job: Job,
        blurred: Tensor,
        scene: Composition,
        generator: np.random.Generator,
    ) -> Shot:
        """White balance, exposure and noise; labels beside the picture."""
        gains = np.exp(generator.normal(0, WHITE_BALANCE_SD, 3) * (1, 0, 1))
        balanced = blurred * torch.from_numpy(gains).float()[:, None, None]
        exposure = float(generator.uniform(*self._params.noise.exposure))
        scaled = balanced / balanced.max().clamp(min=1e-6)
        image = photograph(scaled, exposure, self._params.noise, generator)
        window = self._params.captures.texture_window_px
        texture = texture_energy(scene.sharp, window).numpy() if job.role == "labelled" else None
        known = None if job.role == "chart" else scene.distance_m.numpy()
        return Shot(image.numpy(), exposure, known, texture, scene.sources)


def _capture(job: Job, shot: Shot) -> Capture:
    return Capture(
        image=torch.from_numpy(shot.image),
        role=job.role,
        scene=job.scene,
        split=job.split,
        distance_m=job.distance_m,
        distance_map=None if shot.distance_m is None else torch.from_numpy(shot.distance_m),
        texture=None if shot.texture is None else torch.from_numpy(shot.texture),
        texture_sources=shot.sources,
        exposure=shot.exposure,
    )


def _recipes(params: Parameters) -> list[Recipe]:
    counts, camera = params.captures, params.camera
    per_chart = 1 + sum(CHART_PIECES) // 2
    per_scene = SURFACES_PER_BACKGROUND + sum(counts.objects) // 2
    surfaces: dict[Split, int] = {
        "train": counts.train_charts * per_chart + counts.unlabelled * per_scene,
        "validation": counts.validation_charts * per_chart + counts.validation * per_scene,
        "test": counts.test * per_scene,
    }
    side_px = min(LARGEST_CANVAS_PX, 2 * max(camera.width_px, camera.height_px))
    return list(recipes(params.seed, side_px, surfaces))


def render_captures(params: Parameters, bank: PsfBank) -> Iterator[Capture]:
    """Render every default capture, in an order and with values that only the parameters settle.

    Args:
        params: Camera, counts, noise and seed; `captures.workers` changes the time it takes only.
        bank: PSF bank of `params.camera`.

    Yields:
        Captures, a few per worker waiting in memory.

    Raises:
        WorkerError: If a rendering process dies.
        CameraMismatchError: If the bank is of another camera.
    """
    camera = Camera.from_params(params.camera)
    camera.require(bank.camera, "the bank of point spread functions")
    jobs = plan(params)
    shots = _shots_here(params, bank, jobs)
    if params.captures.workers > 1:
        shots = _shots_of_workers(params, bank, jobs)
    progress = tqdm(jobs, desc="rendering captures", unit="capture", disable=None)
    with closing(shots):
        for job, shot in zip(progress, shots, strict=True):
            yield _capture(job, shot)


def _shots_here(params: Parameters, bank: PsfBank, jobs: list[Job]) -> Generator[Shot]:
    canvases = [(recipe, _canvas(recipe)) for recipe in _recipes(params)]
    yield from map(Studio(params, bank, canvases).shoot, jobs)


def _canvas(recipe: Recipe) -> Tensor:
    with one_thread():
        return make_canvas(recipe)


def _shots_of_workers(params: Parameters, bank: PsfBank, jobs: list[Job]) -> Generator[Shot]:
    workers = params.captures.workers
    made = _recipes(params)
    with (
        tempfile.TemporaryDirectory(prefix="rangefinder-") as name,
        worker_pool(workers, "captures.workers") as pool,
    ):
        folder = Path(name)
        bank.save(folder / BANK_FILE)
        numbered = [(folder, number, recipe) for number, recipe in enumerate(made)]
        for _ in ordered_map(pool, _save_canvas, numbered, workers):
            pass
        yield from ordered_map(pool, _shoot, [(params, folder, job) for job in jobs], workers)


def _canvas_file(folder: Path, number: int) -> Path:
    return folder / f"canvas_{number:04d}.safetensors"


def _save_canvas(task: tuple[Path, int, Recipe]) -> None:
    """In a worker: make a canvas and leave it in a file that all workers then share."""
    folder, number, recipe = task
    save_file({"canvas": make_canvas(recipe).contiguous()}, _canvas_file(folder, number))


def _shoot(task: tuple[Parameters, Path, Job]) -> Shot:
    """In a worker: make one capture."""
    params, folder, job = task
    return _studio(params.model_dump_json(), folder).shoot(job)


@lru_cache(maxsize=1)
def _studio(params_json: str, folder: Path) -> Studio:
    """This worker's studio; canvases and bank are mapped from files, not copied."""
    params = Parameters.model_validate_json(params_json)
    canvases = [
        (recipe, load_file(_canvas_file(folder, number))["canvas"])
        for number, recipe in enumerate(_recipes(params))
    ]
    return Studio(params, PsfBank.load(folder / BANK_FILE), canvases)
