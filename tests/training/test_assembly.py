"""Trainings of both networks: reproducible, from the right captures, sharing what is configured."""

import logging
import multiprocessing
import shutil
import threading
import time
from dataclasses import replace

import numpy as np
import pytest
import torch

from rangefinder.captures.distance_maps import write_stored
from rangefinder.captures.manifest import read_captures
from rangefinder.errors import CaptureError, WorkerError
from rangefinder.models.model_files import load_model, save_model
from rangefinder.models.student import Student
from rangefinder.optics.blur import ThinBlur, TracedBlur
from rangefinder.training.assembly import StudentData, teacher_key, train_teacher, training_split
from rangefinder.training.compositing import CompositedScenes

from ..small_training import same_weights, student_of

SCENES = 240


def test_training_is_reproducible_and_leaves_no_processes(captures, params, teacher, tmp_path):
    again = train_teacher(captures, params, tmp_path / "teacher", None)
    assert same_weights(teacher, again)
    assert multiprocessing.active_children() == []


def test_another_seed_trains_another_teacher(captures, params, teacher, tmp_path):
    other = params.model_copy(update={"seed": 1})
    assert not same_weights(teacher, train_teacher(captures, other, tmp_path / "teacher", None))


def test_another_blur_trains_another_teacher(captures, params, teacher, tmp_path):
    assert isinstance(captures.blur, ThinBlur)
    nodes = (np.array([0.2, 1.4]), np.array([0.0, 9.0]), np.array([0.0, 9.0]))
    wide = replace(captures, blur=TracedBlur(np.full((2, 2, 2), 20.0), *nodes))
    assert teacher_key(wide, params) != teacher_key(captures, params)
    assert not same_weights(teacher, train_teacher(wide, params, tmp_path / "teacher", None))


@pytest.mark.parametrize("workers", [0, 2])
def test_the_number_of_loader_processes_does_not_change_the_teacher(
    captures, params, teacher, tmp_path, workers
):
    assert params.compute.workers == 1
    compute = params.compute.model_copy(update={"workers": workers})
    other = params.model_copy(update={"compute": compute})
    assert same_weights(teacher, train_teacher(captures, other, tmp_path / "teacher", None))


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_convolutions_train_in_the_configured_precision(captures, params, tmp_path, precision):
    compute = params.compute.model_copy(update={"precision": precision})
    dtypes = set()

    def record(module, _, found):
        is_trained = isinstance(module, torch.nn.Conv2d) and module.training
        if is_trained and not found.is_meta:  # as in the estimate of what a step takes
            dtypes.add(found.dtype)

    with torch.nn.modules.module.register_module_forward_hook(record):
        changed = params.model_copy(update={"compute": compute})
        found = train_teacher(captures, changed, tmp_path / "teacher", None)
    assert dtypes == {getattr(torch, precision)}
    assert {p.dtype for p in found.network.parameters()} == {torch.float32}


def test_a_killed_loader_process_is_explained(captures, params, tmp_path):
    def kill_a_child():
        deadline = time.monotonic() + 60
        while not (children := multiprocessing.active_children()):
            assert time.monotonic() < deadline, "no process came"
            time.sleep(0.01)
        children[0].kill()

    changed = params.teacher.model_copy(update={"max_epochs": 500, "patience_epochs": 500})
    killer = threading.Thread(target=kill_a_child)
    killer.start()
    with pytest.raises(WorkerError, match=r"compute\.workers"):
        train_teacher(
            captures, params.model_copy(update={"teacher": changed}), tmp_path / "teacher", None
        )
    killer.join()


def test_a_saved_model_is_loaded_unchanged(teacher, tmp_path):
    save_model(tmp_path / "model", teacher)
    loaded = load_model(tmp_path / "model")
    assert same_weights(teacher, loaded)
    assert loaded.fingerprint == teacher.fingerprint


def test_the_student_never_reads_a_photos_distance(captures, params, teacher, cache, tmp_path):
    table = captures.table.copy()
    unlabelled = table["role"].eq("unlabelled")
    table.loc[unlabelled, ["distance_m", "distance_map"]] = None
    blind = replace(captures, table=table)
    with_truth = student_of(captures, teacher, cache, params, tmp_path)
    without = student_of(blind, teacher, cache, params, tmp_path)
    assert unlabelled.sum() == 6
    assert same_weights(with_truth, without)


def data_of(captures, teacher, cache, params):
    scenes = CompositedScenes(training_split(captures), params.student, params.teacher, 0)
    return StudentData.of(captures, cache.read, teacher.card, params, teacher.distribution, scenes)


def test_distillation_targets_sit_on_the_students_cells(captures, params, teacher, cache):
    photos = data_of(captures, teacher, cache, params).loaders["photos"]
    lattice = Student.lattice
    for batch in photos:
        rows, cols = batch["targets"].shape[1:3]
        for positions, count in ((batch["y_px"], rows), (batch["x_px"], cols)):
            cells = lattice.first_px + lattice.stride_px * torch.arange(count)
            assert torch.equal(positions, cells.expand_as(positions))


def test_a_student_has_a_boundary_network_only_if_there_are_composited_scenes(
    captures, params, teacher, cache, tmp_path, caplog
):
    caplog.set_level(logging.INFO)
    with_scenes = student_of(captures, teacher, cache, params, tmp_path)
    assert with_scenes.network.boundaries.head.weight.abs().max() > 0
    switched_off = student_of(captures, teacher, cache, params, tmp_path, composited_scenes=0)
    assert switched_off.network.boundaries is None
    table = captures.table[captures.table["role"].ne("chart")].reset_index(drop=True)
    chartless = replace(captures, table=table)
    assert "composited scenes" not in caplog.text
    without_charts = student_of(chartless, teacher, cache, params, tmp_path)
    assert f"0 composited scenes instead of {SCENES}" in caplog.text
    assert without_charts.network.boundaries is None
    assert without_charts.card.student.composited_scenes == 0
    assert (
        without_charts.card.student.aggregation_sd
        == switched_off.card.student.aggregation_sd
        == 0.1
    )
    assert with_scenes.card.student.aggregation_sd == params.student.aggregation_sd > 0.1
    assert with_scenes.card.student.composited_scenes == SCENES == params.student.composited_scenes


def test_contrast_attenuation_changes_photos_but_no_targets(captures, params, teacher, cache):
    def batch(share):
        student = params.student.model_copy(update={"attenuated_share": share})
        changed = params.model_copy(update={"student": student})
        data = data_of(captures, teacher, cache, changed)
        return next(iter(data.loaders["photos"]))

    plain, attenuated = batch(0.0), batch(1.0)
    assert torch.equal(plain["targets"], attenuated["targets"])
    assert torch.equal(plain["location"], attenuated["location"])
    changed = (plain["image"] != attenuated["image"]).flatten(1).float().mean(1)
    assert bool((changed > 0.2).all())


def test_sharing_decides_how_the_stem_of_the_teacher_is_trained(
    captures, params, teacher, cache, tmp_path
):
    def weights(model):
        return torch.cat([p.detach().flatten() for p in model.network.stem.parameters()])

    stems = {"teacher": weights(teacher)}
    for sharing in ("none", "init", "frozen", "joint"):
        student = student_of(captures, teacher, cache, params, tmp_path, sharing=sharing)
        stems[sharing] = weights(student)
        norm = student.network.stem.first.norm.running_mean
        same_norm = torch.equal(norm, teacher.network.stem.first.norm.running_mean)
        assert same_norm is (sharing == "frozen")

    def distance(name):
        return float((stems[name] - stems["teacher"]).norm())

    assert distance("frozen") == 0
    assert 0 < distance("init") < distance("none")
    assert 0 < distance("joint") < distance("none")
    assert not torch.equal(stems["init"], stems["joint"])


def test_joint_training_leaves_the_teacher_and_its_targets_alone(
    captures, params, teacher, cache, tmp_path
):
    before = teacher.fingerprint
    student_of(captures, teacher, cache, params, tmp_path, sharing="joint")
    assert teacher.fingerprint == before


def test_a_students_card_names_its_cache_and_its_teachers_patch(
    captures, params, teacher, cache, tmp_path
):
    card = student_of(captures, teacher, cache, params, tmp_path).card
    assert card.kind == "student"
    assert card.cache == cache.fingerprint
    assert (card.patch_px, card.stride_px) == (teacher.card.patch_px, teacher.card.stride_px)


def test_a_corrected_label_makes_another_training(captures, params):
    before = teacher_key(captures, params)
    assert teacher_key(read_captures(captures.folder), params) == before
    labels = {
        "distance_m": captures.table["role"].eq("chart"),
        "distance_map_sha256": captures.table["role"].eq("labelled"),
    }
    for column, rows in labels.items():
        corrected = captures.table.copy()
        value = {"distance_m": 1.01, "distance_map_sha256": "0" * 16}[column]
        corrected.loc[rows.idxmax(), column] = value
        assert teacher_key(replace(captures, table=corrected), params) != before


def test_no_network_is_trained_on_a_damaged_capture(captures, params, teacher, cache, tmp_path):
    folder = tmp_path / "set"
    shutil.copytree(captures.folder, folder)
    copied = read_captures(folder)
    path = folder / copied.select(role="labelled").row(0)["distance_map"]
    write_stored(path.with_suffix(""), 1.01 * copied.select(role="labelled").distance_map(0))
    for train in (
        lambda set_: train_teacher(set_, params, tmp_path / "teacher", None),
        lambda set_: student_of(set_, teacher, cache, params, tmp_path / "student"),
    ):
        with pytest.raises(CaptureError, match=f"{path} is damaged"):
            train(read_captures(folder))
    assert not (tmp_path / "teacher").exists()
