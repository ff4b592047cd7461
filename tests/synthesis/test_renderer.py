"""Simulated sets of captures: counts, labels, splits, exposure; reproducible in any process."""

from __future__ import annotations

import multiprocessing
from collections import Counter
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
import torch

from rangefinder.camera import Camera
from rangefinder.captures.manifest import Capture, CaptureSet, capture_id, write_captures
from rangefinder.config import EncodingParams, NoiseParams, Parameters
from rangefinder.errors import CameraMismatchError
from rangefinder.optics.psf_bank import PsfBank
from rangefinder.optics.sensor import through_jpeg
from rangefinder.photo_domain import Storage
from rangefinder.synthesis.renderer import capture_specs, render_captures


def _changed(params: Parameters, **captures: object) -> Parameters:
    return params.model_copy(update={"captures": params.captures.model_copy(update=captures)})


@pytest.fixture(scope="module")
def rendered(params: Parameters, bank: PsfBank) -> list[Capture]:
    return list(render_captures(params, bank))


@pytest.fixture(scope="module")
def stored(rendered, camera: Camera, tmp_path_factory) -> CaptureSet:
    return write_captures(tmp_path_factory.mktemp("captures") / "set", camera, rendered)


def _ids(captures: list[Capture], camera: Camera) -> list[str]:
    return [capture_id(capture.image, capture.placement, camera) for capture in captures]


def test_counts_roles_and_splits(stored: CaptureSet):
    counts = Counter(zip(stored.table["role"], stored.table["split"], strict=True))
    assert counts == {
        ("chart", "train"): 4,
        ("chart", "validation"): 2,
        ("unlabelled", "train"): 3,
        ("labelled", "validation"): 2,
        ("labelled", "test"): 3,  # the Motorcycle pair comes on top
    }
    assert stored.table["scene"].is_unique
    assert (stored.table["scene"] == "motorcycle").sum() == 1


def test_labels_lie_where_they_belong(stored: CaptureSet):
    charts = stored.table["role"] == "chart"
    assert stored.table["distance_m"].notna().equals(charts)
    assert stored.table["distance_map"].notna().equals(~charts)
    assert stored.table["texture_map"].notna().equals(stored.table["role"] == "labelled")
    for index in range(len(stored)):
        distance_m = stored.distance_map(index)
        known = distance_m[distance_m > 0]
        assert 0.699 < float(known.min()) <= float(known.max()) < 5.001
        if stored.row(index)["scene"] != "motorcycle":
            assert len(known) == 48 * 64


def test_no_texture_is_used_in_two_splits(stored: CaptureSet):
    used: dict[str, set[str]] = {}
    for _, row in stored.table.iterrows():
        used.setdefault(row["split"], set()).update(row["texture_sources"].split(";"))
    assert not used["train"] & (used["validation"] | used["test"])
    assert not used["validation"] & used["test"]


def test_pictures_are_exposed_as_stated(stored: CaptureSet):
    for index in range(len(stored)):
        image, exposure = stored.image(index), stored.row(index)["exposure"]
        assert image.shape == (3, 48, 64)
        assert 0.35 <= exposure <= 1.0
        # brightest value, up to noise
        assert float(image.max()) == pytest.approx(exposure, abs=0.06)


def test_chart_distances_are_spread_evenly_in_dioptres(params: Parameters):
    specs = capture_specs(_changed(params, train_charts=200))
    inverse = np.array([1 / spec.distance_m for spec in specs if spec.role == "chart"][:200])
    edges = np.linspace(1 / 5.0, 1 / 0.7, 201)
    assert np.all(np.histogram(inverse, edges)[0] == 1)
    assert not np.all(np.diff(inverse) > 0)


def test_the_default_run_has_enough_to_evaluate_on():
    counts = Counter((spec.role, spec.split) for spec in capture_specs(Parameters()))
    assert counts["labelled", "validation"] >= 40
    assert counts["labelled", "test"] >= 41


def test_workers_change_nothing_and_end_when_stopped(
    rendered: list[Capture], params: Parameters, bank: PsfBank, camera: Camera
):
    captures = render_captures(_changed(params, workers=2), bank)
    parallel = list(islice(captures, len(rendered) - 2))
    assert multiprocessing.active_children()
    captures.close()
    assert multiprocessing.active_children() == []
    assert _ids(parallel, camera) == _ids(rendered, camera)[:-2]
    for first, second in zip(rendered, parallel, strict=False):
        assert torch.equal(first.image, second.image)
        assert (first.scene, first.exposure) == (second.scene, second.exposure)
        assert first.texture_sources == second.texture_sources
        if first.distance_map is not None:
            assert torch.equal(first.distance_map, second.distance_map)


def test_the_seed_changes_everything(
    rendered: list[Capture], params: Parameters, bank: PsfBank, camera: Camera
):
    other = params.model_copy(update={"seed": 1})
    again = list(render_captures(other, bank))
    assert not set(_ids(again, camera)) & set(_ids(rendered, camera))


def test_more_training_data_leaves_held_out_captures_alone(
    rendered: list[Capture], params: Parameters, bank: PsfBank, camera: Camera
):
    more = list(render_captures(_changed(params, train_charts=40, unlabelled=1), bank))
    old = [capture for capture in rendered if capture.split != "train"]
    new = [capture for capture in more if capture.split != "train"]
    assert _ids(new, camera) == _ids(old, camera)


def test_a_bank_of_another_camera_is_refused(params: Parameters, bank: PsfBank):
    other = params.model_copy(update={"camera": params.camera.model_copy(update={"f_number": 4})})
    with pytest.raises(CameraMismatchError):
        next(render_captures(other, bank))


def test_rendering_twice_is_the_same_on_disk(stored: CaptureSet, params, bank, tmp_path: Path):
    again = write_captures(tmp_path / "set", stored.camera, render_captures(params, bank))
    assert again.digest == stored.digest
    for name in ("images", "distance", "texture"):
        for path in sorted((stored.folder / name).iterdir()):
            assert (again.folder / name / path.name).read_bytes() == path.read_bytes()


def test_beside_real_captures_only_charts_may_be_simulated(params: Parameters, bank: PsfBank):
    none = dict.fromkeys(("validation_charts", "unlabelled", "validation", "test"), 0)
    alone = list(render_captures(_changed(params, **none, real_scenes=()), bank))
    assert [(capture.role, capture.split) for capture in alone] == [("chart", "train")] * 4


def test_simulated_photos_are_stored_as_the_camera_stores_them(params: Parameters, bank):
    encoding = EncodingParams(formats=("jpeg",), jpeg_quality=(75, 75))
    camera = params.camera.model_copy(update={"encoding": encoding})
    plain, pressed = (
        next(iter(render_captures(p, bank)))
        for p in (params, params.model_copy(update={"camera": camera}))
    )
    assert torch.equal(pressed.image, through_jpeg(plain.image, 75))
    assert (plain.storage, pressed.storage) == (Storage(), Storage("jpeg", 75, "4:2:0"))


def _detail(image: torch.Tensor) -> float:
    return float((image[:, :, 4:] - image[:, :, :-4]).std() / image.std())


def test_the_focus_of_photos_may_differ_from_the_record(params: Parameters, bank: PsfBank):
    """Blur changes, by far more than noise, and labels do not."""
    few = _changed(params, train_charts=4, validation_charts=0, unlabelled=0, validation=1, test=0)
    unsure = few.model_copy(update={"noise": NoiseParams(focus_sd_dpt=0.3)})
    pairs = list(zip(render_captures(few, bank), render_captures(unsure, bank), strict=True))
    for plain, moved in pairs:
        assert plain.distance_m == moved.distance_m
        if plain.distance_map is not None:
            torch.testing.assert_close(plain.distance_map, moved.distance_map)
    changes = [abs(_detail(moved.image) / _detail(plain.image) - 1) for plain, moved in pairs]
    assert max(changes) > 0.1
