"""The default captures: charts and scenes rendered through the camera's PSF bank."""

from __future__ import annotations

import tempfile
from collections.abc import Generator, Iterator
from contextlib import closing
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file, save_file
from torch import Tensor
from tqdm import tqdm

from rangefinder.camera import Camera
from rangefinder.captures.manifest import Capture, Role
from rangefinder.captures.splits import Split
from rangefinder.common.compute import one_thread, ordered_map, worker_pool
from rangefinder.config import EncodingParams, Parameters
from rangefinder.config.imaging import Scenes
from rangefinder.optics.psf_bank import PsfBank
from rangefinder.optics.rendering import Layer, refocused, render, render_rgbd
from rangefinder.optics.sensor import drawn_development, focus_shift_dpt, photograph, sensor_light
from rangefinder.photo_domain import Storage
from rangefinder.synthesis.rgbd import motorcycle
from rangefinder.synthesis.rooms import compose_room
from rangefinder.synthesis.scenes import (
    CHART_PIECES,
    Composition,
    Frame,
    compose_chart,
    compose_scene,
    inverse_distance_dpt,
)
from rangefinder.synthesis.textures import (
    TextureSampler,
    TextureSpec,
    make_texture,
    texture_energy,
    texture_specs,
)

MAX_TEXTURE_PX = 1024
WHITE_BALANCE_SD = 0.05  # relative, of red and of blue against green
BANK_FILE = "bank.safetensors"
SURFACES_PER_BACKGROUND = 3
DISTANCES_KEY = 2**31  # seed key of a group's chart distances: no capture has that number
TextureBank = list[tuple[TextureSpec, Tensor]]


@dataclass(frozen=True)
class CaptureSpec:
    """One capture to render; all its randomness is seeded by `key` and the run's seed."""

    role: Role
    split: Split
    scene: str
    key: tuple[int, int]
    distance_m: float | None = None
    is_room: bool = False


def capture_specs(params: Parameters) -> list[CaptureSpec]:
    """Every capture of a run, in the order of the manifest."""
    counts = params.captures
    specs = _chart_specs("train", counts.train_charts, params, 0)
    specs += _chart_specs("validation", counts.validation_charts, params, 1)
    scenes: tuple[tuple[Role, Split, int], ...] = (
        ("unlabelled", "train", counts.unlabelled),
        ("labelled", "validation", counts.validation),
        ("labelled", "test", counts.test),
    )
    for group, (role, split, count) in enumerate(scenes, start=2):
        specs += [_scene_spec(role, split, (group, i), counts.scenes) for i in range(count)]
    real = enumerate(counts.real_scenes)
    return specs + [CaptureSpec("labelled", "test", scene, (9, i)) for i, scene in real]


def _scene_spec(role: Role, split: Split, key: tuple[int, int], scenes: Scenes) -> CaptureSpec:
    """A simulated scene; of both kinds, every other one is a room."""
    is_room = scenes == "rooms" or (scenes == "both" and key[1] % 2 == 1)
    name = f"{role}-{split}-{'room-' if is_room else ''}{key[1]:05d}"
    return CaptureSpec(role, split, name, key, is_room=is_room)


def _chart_specs(split: Split, count: int, params: Parameters, group: int) -> list[CaptureSpec]:
    """Charts at random distances of the prior, stratified: one in each of `count` parts."""
    generator = _generator(params.seed, (group, DISTANCES_KEY))
    near_dpt, far_dpt = 1 / params.range.working_m[0], 1 / params.range.working_m[1]
    share = (generator.permutation(count) + generator.random(count)) / count
    range_dpt, prior = (far_dpt, near_dpt), params.captures.distance_prior
    distance_m = 1 / inverse_distance_dpt(range_dpt, share, prior)
    return [
        CaptureSpec("chart", split, f"chart-{split}-{i:05d}", (group, i), float(distance))
        for i, distance in enumerate(distance_m)
    ]


def _generator(seed: int, key: tuple[int, int]) -> np.random.Generator:
    return np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(1, *key)))


@dataclass(frozen=True)
class RenderedCapture:
    """A capture's arrays for transfer between processes; see `Capture`."""

    image: NDArray[np.float32]
    exposure: float
    distance_m: NDArray[np.float32] | None
    texture: NDArray[np.float32] | None
    sources: tuple[str, ...]
    storage: Storage


class Renderer:
    """Renders captures, one spec at a time, with textures of all splits."""

    def __init__(self, params: Parameters, bank: PsfBank, textures: TextureBank) -> None:
        self._params = params
        self._bank = bank
        self._camera = camera = Camera.from_params(params.camera)
        self._frame = Frame(camera.height_px, camera.width_px, bank.radius_px)
        by_split: dict[Split, list[tuple[str, Tensor]]] = {}
        for spec, texture in textures:
            by_split.setdefault(spec.split, []).append((spec.source, texture))
        self._samplers = {
            split: TextureSampler(owned, params.captures) for split, owned in by_split.items()
        }

    def compose(self, spec: CaptureSpec, generator: np.random.Generator) -> Composition:
        """Compose a chart or a simulated scene."""
        sampler = self._samplers[spec.split]
        if spec.distance_m is not None:
            return compose_chart(self._frame, sampler, spec.distance_m, generator)
        working_m, params = self._params.range.working_m, self._params.captures
        if spec.is_room:
            return compose_room(self._frame, sampler, self._camera, working_m, params, generator)
        return compose_scene(self._frame, sampler, working_m, params, generator)

    def render(self, spec: CaptureSpec) -> RenderedCapture:
        """Compose, blur and expose one capture."""
        with one_thread():
            generator = _generator(self._params.seed, spec.key)
            is_real = spec.scene in self._params.captures.real_scenes
            composed = None if is_real else self.compose(spec, generator)
            encoding = drawn_development(self._params.camera.encoding, generator)
            shift_dpt = focus_shift_dpt(self._params.noise, generator)
            if composed is None:
                blurred, scene = self._real(spec, encoding, shift_dpt)
            else:
                scene = composed
                blurred = render(self._bank, self._layers(scene, encoding, shift_dpt))
            gains = np.exp(generator.normal(0, WHITE_BALANCE_SD, 3) * (1, 0, 1))
            blurred = blurred * torch.from_numpy(gains).float()[:, None, None]
            image, exposure, storage = photograph(blurred, self._params.noise, encoding, generator)
            texture = None
            if spec.role == "labelled":
                window_px = self._params.captures.texture_window_px
                texture = texture_energy(scene.sharp, window_px).numpy()
        known = None if spec.role == "chart" else scene.distance_m.numpy()
        return RenderedCapture(image.numpy(), exposure, known, texture, scene.sources, storage)

    def _layers(
        self, scene: Composition, encoding: EncodingParams, shift_dpt: float
    ) -> list[Layer]:
        """Layers in the sensor's colours, where they blur as they do."""
        return [
            replace(
                layer,
                rgb=sensor_light(layer.rgb, encoding),
                distance_m=refocused(self._bank, layer.distance_m, shift_dpt),
            )
            for layer in scene.layers
        ]

    def _real(
        self, spec: CaptureSpec, encoding: EncodingParams, shift_dpt: float
    ) -> tuple[Tensor, Composition]:
        """A real scene through this lens: the blurred picture, and its sharp source."""
        frame, working_m = self._frame, self._params.range.working_m
        sharp, distance_m, shown_m = motorcycle(frame.height_px, frame.width_px, working_m)
        light, moved_m = sensor_light(sharp, encoding), refocused(self._bank, shown_m, shift_dpt)
        blurred = render_rgbd(self._bank, light, moved_m)
        return blurred, Composition((), sharp, distance_m, (f"scene:{spec.scene}",))


def _capture(spec: CaptureSpec, rendered: RenderedCapture) -> Capture:
    return Capture(
        image=torch.from_numpy(rendered.image),
        role=spec.role,
        scene=spec.scene,
        split=spec.split,
        distance_m=spec.distance_m,
        distance_map=None if rendered.distance_m is None else torch.from_numpy(rendered.distance_m),
        texture=None if rendered.texture is None else torch.from_numpy(rendered.texture),
        texture_sources=rendered.sources,
        exposure=rendered.exposure,
        storage=rendered.storage,
    )


def _texture_specs(params: Parameters) -> list[TextureSpec]:
    counts, camera = params.captures, params.camera
    per_chart = 1 + sum(CHART_PIECES) // 2
    per_scene = SURFACES_PER_BACKGROUND + sum(counts.objects) // 2
    surfaces: dict[Split, int] = {
        "train": counts.train_charts * per_chart + counts.unlabelled * per_scene,
        "validation": counts.validation_charts * per_chart + counts.validation * per_scene,
        "test": counts.test * per_scene,
    }
    side_px = min(MAX_TEXTURE_PX, 2 * max(camera.width_px, camera.height_px))
    return list(texture_specs(params.seed, side_px, surfaces))


def render_captures(params: Parameters, bank: PsfBank) -> Iterator[Capture]:
    """Render every default capture; order and values depend on the parameters alone.

    `captures.workers` affects speed only; a few captures per worker are held in memory.

    Raises:
        WorkerError: If a rendering process dies.
        CameraMismatchError: If the bank is of another camera.
    """
    camera = Camera.from_params(params.camera)
    camera.require(bank.camera, "the bank of point spread functions")
    specs = capture_specs(params)
    render_all = _render_in_workers if params.captures.workers > 1 else _render_here
    progress = tqdm(specs, desc="rendering captures", unit="capture", disable=None)
    with closing(render_all(params, bank, specs)) as every:
        for spec, rendered in zip(progress, every, strict=True):
            yield _capture(spec, rendered)


def _render_here(
    params: Parameters, bank: PsfBank, specs: list[CaptureSpec]
) -> Generator[RenderedCapture]:
    with one_thread():
        textures = [(spec, make_texture(spec)) for spec in _texture_specs(params)]
    yield from map(Renderer(params, bank, textures).render, specs)


def _render_in_workers(
    params: Parameters, bank: PsfBank, specs: list[CaptureSpec]
) -> Generator[RenderedCapture]:
    workers = params.captures.workers
    with (
        tempfile.TemporaryDirectory(prefix="rangefinder-") as name,
        worker_pool(workers, "captures.workers") as pool,
    ):
        folder = Path(name)
        bank.save(folder / BANK_FILE)
        numbered = [(folder, i, spec) for i, spec in enumerate(_texture_specs(params))]
        for _ in ordered_map(pool, _save_texture, numbered, workers):
            pass
        tasks = [(params, folder, spec) for spec in specs]
        yield from ordered_map(pool, _render_spec, tasks, workers)


def _texture_file(folder: Path, number: int) -> Path:
    return folder / f"texture_{number:04d}.safetensors"


def _save_texture(task: tuple[Path, int, TextureSpec]) -> None:
    """In a worker: make a texture and write it to a file that all workers share."""
    folder, number, spec = task
    save_file({"texture": make_texture(spec).contiguous()}, _texture_file(folder, number))


def _render_spec(task: tuple[Parameters, Path, CaptureSpec]) -> RenderedCapture:
    """In a worker: render one capture."""
    params, folder, spec = task
    return _renderer(params, folder).render(spec)


@lru_cache(maxsize=1)
def _renderer(params: Parameters, folder: Path) -> Renderer:
    """This worker's renderer; textures and bank are memory-mapped, not copied."""
    textures = [
        (spec, load_file(_texture_file(folder, number))["texture"])
        for number, spec in enumerate(_texture_specs(params))
    ]
    return Renderer(params, PsfBank.load(folder / BANK_FILE), textures)
